//! How places are joined: veth pairs, addresses and routes, given to `ip` in batches, one process a place and step.
//!
//! Not here: what is in the plan, and namespaces' own settings (`namespace.rs`).

use super::plan::{NodePlan, OUTSIDE, OUTSIDE_V4, OUTSIDE_V6, PodPlan, wire_v4, wire_v6};
use super::{Lab, Place};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::Stdio;

/// The gateway of every pod, as with Calico: addresses of link-local scope that lead to the host's end.
const GATEWAY_V4: &str = "169.254.1.1";
const GATEWAY_V6: &str = "fe80::1";
/// The link-layer address of every host's end, as with Calico. They share no link, so they may share it.
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";

impl Lab {
    /// Joins everything with everything.
    pub(super) fn join(&self) -> io::Result<()> {
        let pods: Vec<_> = self.plan.pods.iter().zip(&self.pods).collect();
        let mut links = vec![(&self.wire, self.wire_links())];
        for (plan, node) in self.plan.nodes.iter().zip(&self.nodes) {
            links.push((node, pod_links(&pods, plan)));
        }
        run(links)?;

        let mut addresses = vec![(&self.outside, outside_routes(&self.plan.nodes))];
        for (plan, node) in self.plan.nodes.iter().zip(&self.nodes) {
            addresses.push((node, node_routes(&self.plan.nodes, plan) + &pod_routes(&pods, plan)));
        }
        addresses.extend(pods.iter().map(|(plan, pod)| (*pod, pod_interface(plan))));
        run(addresses)?;
        self.await_wire()?;
        self.await_pods(&pods)
    }

    /// Joins pods to nodes that are there already.
    pub(super) fn join_pods(&self, pods: &[(&PodPlan, &Place)]) -> io::Result<()> {
        for step in [pod_links, pod_routes] {
            let nodes = self.plan.nodes.iter().zip(&self.nodes);
            run(nodes
                .map(|(plan, node)| (node, step(pods, plan)))
                .filter(|(_, batch)| !batch.is_empty())
                .collect())?;
        }
        run(pods.iter().map(|(plan, pod)| (*pod, pod_interface(plan))).collect())?;
        self.await_pods(pods)
    }

    /// Removes a pod's veth pair, which would go with its namespace, but only when the kernel finds the time.
    pub(super) fn part(&self, pod: &PodPlan) -> io::Result<()> {
        let veth = pod.host_interface();
        let node = self.node(&pod.node);
        // It may be gone already, so the question is what is left, not whether this succeeded.
        let _ = run(vec![(node, format!("link del {veth}\n"))]);
        node.await_gone(&veth)
    }

    /// The bridge, and a veth pair to each node and to the outside.
    fn wire_links(&self) -> String {
        let mut batch =
            String::from("link add name bridge0 up type bridge forward_delay 0 mcast_snooping 0\n");
        let numbered = self.plan.nodes.iter().map(|node| node.number).zip(&self.nodes);
        for (number, place) in numbered.chain([(OUTSIDE, &self.outside)]) {
            let pid = place.pid();
            let _ = writeln!(batch, "link add name port{number} type veth peer name eth0 netns {pid}");
            let _ = writeln!(batch, "link set port{number} master bridge0 up");
        }
        batch
    }

    fn await_wire(&self) -> io::Result<()> {
        let numbers = self.plan.nodes.iter().map(|node| node.number).chain([OUTSIDE]);
        for (number, place) in numbers.zip(self.nodes.iter().chain([&self.outside])) {
            self.wire.await_up(&format!("port{number}"))?;
            place.await_up("eth0")?;
        }
        Ok(())
    }

    fn await_pods(&self, pods: &[(&PodPlan, &Place)]) -> io::Result<()> {
        for (plan, pod) in pods {
            self.node(&plan.node).await_up(&plan.host_interface())?;
            pod.await_up("eth0")?;
        }
        Ok(())
    }
}

/// The pods of a node, with their places.
fn on_node<'a>(
    pods: &[(&'a PodPlan, &'a Place)],
    node: &NodePlan,
) -> impl Iterator<Item = (&'a PodPlan, &'a Place)> {
    pods.iter().copied().filter(|(pod, _)| pod.node == node.name)
}

/// In a node: a veth pair to each of its pods. The gateway's address is the host's end's own, so that it can ask for its pod.
fn pod_links(pods: &[(&PodPlan, &Place)], node: &NodePlan) -> String {
    let mut batch = String::new();
    for (pod, place) in on_node(pods, node) {
        let (veth, pid) = (pod.host_interface(), place.pid());
        let _ =
            writeln!(batch, "link add name {veth} address {HOST_MAC} type veth peer name eth0 netns {pid}");
        let _ = writeln!(batch, "link set {veth} up");
        let _ = writeln!(batch, "addr add {GATEWAY_V6}/64 dev {veth} nodad");
    }
    batch
}

/// In a node: routes to its pods.
fn pod_routes(pods: &[(&PodPlan, &Place)], node: &NodePlan) -> String {
    let mut batch = String::new();
    for (pod, _) in on_node(pods, node) {
        let veth = pod.host_interface();
        let _ = writeln!(batch, "route add {}/32 dev {veth}", pod.v4());
        let _ = writeln!(batch, "route add {}/128 dev {veth}", pod.v6());
    }
    batch
}

/// In a pod: its addresses, and the gateway as a neighbour that need not be asked for.
fn pod_interface(pod: &PodPlan) -> String {
    format!(
        "link set eth0 up\n\
         addr add {v4}/32 dev eth0\n\
         addr add {v6}/128 dev eth0 nodad\n\
         neigh replace {GATEWAY_V4} lladdr {HOST_MAC} dev eth0 nud permanent\n\
         neigh replace {GATEWAY_V6} lladdr {HOST_MAC} dev eth0 nud permanent\n\
         route add {GATEWAY_V4}/32 dev eth0 scope link\n\
         route add 0.0.0.0/0 via {GATEWAY_V4} dev eth0\n\
         route add ::/0 via {GATEWAY_V6} dev eth0\n",
        v4 = pod.v4(),
        v6 = pod.v6(),
    )
}

/// The interface on the wire, for a node or the outside.
fn wire_interface(number: u8) -> String {
    format!(
        "link set eth0 up\naddr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\n",
        wire_v4(number),
        wire_v6(number)
    )
}

/// Routes to the pods of these nodes, over the wire.
fn routes_to<'a>(nodes: impl Iterator<Item = &'a NodePlan>) -> String {
    let mut batch = String::new();
    for node in nodes {
        let [v4, v6] = node.pod_ranges();
        let _ = writeln!(batch, "route add {v4} via {} dev eth0", node.v4());
        let _ = writeln!(batch, "route add {v6} via {} dev eth0", node.v6());
    }
    batch
}

/// In a node: the wire, the other nodes' pods, and the outside for everything else. An address of its own range that no pod
/// has is unreachable, rather than sent out and back.
fn node_routes(nodes: &[NodePlan], node: &NodePlan) -> String {
    let [v4, v6] = node.pod_ranges();
    let mut batch = wire_interface(node.number);
    batch += &routes_to(nodes.iter().filter(|other| other.number != node.number));
    let _ = writeln!(batch, "route add unreachable {v4}\nroute add unreachable {v6}");
    let _ = writeln!(batch, "route add 0.0.0.0/0 via {} dev eth0", wire_v4(OUTSIDE));
    let _ = writeln!(batch, "route add ::/0 via {} dev eth0", wire_v6(OUTSIDE));
    batch
}

/// In the outside: the wire, all of its own addresses, and the pods of all nodes.
fn outside_routes(nodes: &[NodePlan]) -> String {
    let mut batch = wire_interface(OUTSIDE);
    let _ = writeln!(batch, "addr add {OUTSIDE_V4}/32 dev lo\naddr add {OUTSIDE_V6}/128 dev lo nodad");
    let _ = writeln!(batch, "route add local 203.0.113.0/24 dev lo\nroute add local 2001:db8::/64 dev lo");
    for line in routes_to(nodes.iter()).lines() {
        let source = if line.contains("::") { OUTSIDE_V6.to_string() } else { OUTSIDE_V4.to_string() };
        let _ = writeln!(batch, "{line} src {source}");
    }
    batch
}

/// Runs batches, all at the same time.
fn run(batches: Vec<(&Place, String)>) -> io::Result<()> {
    let mut running = Vec::new();
    for (place, batch) in &batches {
        let mut ip = place.command("ip");
        ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = ip.spawn()?;
        // A batch is far smaller than a pipe, and dropping the pipe's end tells `ip` that this is all. If `ip` ends early,
        // what it says tells why.
        let _ = child.stdin.take().map(|mut pipe| pipe.write_all(batch.as_bytes()));
        running.push(child);
    }
    for (child, (place, batch)) in running.into_iter().zip(&batches) {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("ip in {}: {}\nin the batch\n{batch}", place.name(), said.trim());
            return Err(io::Error::other(what));
        }
    }
    Ok(())
}
