//! How places are joined: veth pairs, addresses and routes, given to `ip` in batches, one process a place and step.
//!
//! Not here: what is in the plan, and namespaces' own settings (`namespace.rs`).

use super::plan::{
    ELSEWHERE, ELSEWHERE_V4, ELSEWHERE_V6, NodePlan, OUTSIDE, OUTSIDE_V4, OUTSIDE_V6, Plan, PodPlan, wire_v4,
    wire_v6,
};
use super::{Lab, Place};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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

        let mut addresses = vec![(&self.outside, outside_routes(&self.plan))];
        addresses.extend(self.elsewhere.iter().map(|place| (place, elsewhere_routes(&self.plan))));
        for (plan, node) in self.plan.nodes.iter().zip(&self.nodes) {
            addresses.push((node, node_routes(&self.plan, plan) + &pod_routes(&pods, plan)));
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

    /// Who is on the wire, by number.
    pub(super) fn on_wire(&self) -> impl Iterator<Item = (u8, &Place)> {
        let nodes = self.plan.nodes.iter().map(|node| node.number).zip(&self.nodes);
        let elsewhere = self.elsewhere.iter().map(|place| (ELSEWHERE, place));
        nodes.chain([(OUTSIDE, &self.outside)]).chain(elsewhere)
    }

    /// The bridge, and a veth pair to each who is on the wire.
    fn wire_links(&self) -> String {
        let mut batch =
            String::from("link add name bridge0 up type bridge forward_delay 0 mcast_snooping 0\n");
        let mtu = self.plan.mtu;
        for (number, place) in self.on_wire() {
            let (port, pid) = (port_of(number), place.pid());
            let _ = writeln!(
                batch,
                "link add name {port} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {pid}"
            );
            let _ = writeln!(batch, "link set {port} master bridge0 up");
        }
        batch
    }

    fn await_wire(&self) -> io::Result<()> {
        for (number, place) in self.on_wire() {
            self.wire.await_up(&port_of(number))?;
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

/// The wire's end of the veth pair of a number.
pub(super) fn port_of(number: u8) -> String {
    format!("port{number}")
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

/// Routes to the addresses that lead to a node, for everyone but that one.
fn led_routes(plan: &Plan, own: Option<&NodePlan>) -> String {
    let mut batch = String::new();
    for led in plan.led.iter().filter(|led| own.is_none_or(|own| own.name != led.node)) {
        for node in plan.nodes.iter().filter(|node| node.name == led.node) {
            let via: IpAddr = if led.prefix.contains(':') { node.v6().into() } else { node.v4().into() };
            let _ = writeln!(batch, "route add {} via {via} dev eth0", led.prefix);
        }
    }
    batch
}

/// In a node: the wire, the other nodes' pods, and the outside for everything else. An address of its own range that no pod
/// has is unreachable, rather than sent out and back.
fn node_routes(plan: &Plan, node: &NodePlan) -> String {
    let [v4, v6] = node.pod_ranges();
    let mut batch = wire_interface(node.number);
    batch += &routes_to(plan.nodes.iter().filter(|other| other.number != node.number));
    batch += &led_routes(plan, Some(node));
    let _ = writeln!(batch, "route add unreachable {v4}\nroute add unreachable {v6}");
    let _ = writeln!(batch, "route add 0.0.0.0/0 via {} dev eth0", wire_v4(OUTSIDE));
    let _ = writeln!(batch, "route add ::/0 via {} dev eth0", wire_v6(OUTSIDE));
    if plan.has_elsewhere {
        let _ = writeln!(batch, "route add 198.18.0.0/24 via {} dev eth0", wire_v4(ELSEWHERE));
        let _ = writeln!(batch, "route add 2001:db8:e::/64 via {} dev eth0", wire_v6(ELSEWHERE));
    }
    batch
}

/// In the outside: the wire, all of its own addresses, and the pods of all nodes.
fn outside_routes(plan: &Plan) -> String {
    let mut batch = wire_interface(OUTSIDE);
    let _ = writeln!(batch, "addr add {OUTSIDE_V4}/32 dev lo\naddr add {OUTSIDE_V6}/128 dev lo nodad");
    let _ = writeln!(batch, "route add local 203.0.113.0/24 dev lo\nroute add local 2001:db8::/64 dev lo");
    batch + &from_source(&routes_into(plan), OUTSIDE_V4, OUTSIDE_V6)
}

/// The same of the other host outside.
fn elsewhere_routes(plan: &Plan) -> String {
    let mut batch = wire_interface(ELSEWHERE);
    let _ = writeln!(batch, "addr add {ELSEWHERE_V4}/32 dev lo\naddr add {ELSEWHERE_V6}/128 dev lo nodad");
    let _ = writeln!(batch, "route add local 198.18.0.0/24 dev lo\nroute add local 2001:db8:e::/64 dev lo");
    batch + &from_source(&routes_into(plan), ELSEWHERE_V4, ELSEWHERE_V6)
}

/// Routes of who is outside into the cluster.
fn routes_into(plan: &Plan) -> String {
    routes_to(plan.nodes.iter()) + &led_routes(plan, None)
}

/// The same routes with the address that is told where none is chosen.
fn from_source(routes: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> String {
    let mut batch = String::new();
    for line in routes.lines() {
        let source: IpAddr = if line.contains("::") { v6.into() } else { v4.into() };
        let _ = writeln!(batch, "{line} src {source}");
    }
    batch
}

/// Runs batches, all at the same time.
fn run(batches: Vec<(&Place, String)>) -> io::Result<()> {
    let mut running = Vec::new();
    for (place, batch) in &batches {
        let mut ip = place.tool("ip");
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
