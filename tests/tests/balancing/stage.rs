//! The stage: a lab of three nodes with backends, clients and daemons, and the services in their folders.
//!
//! Backends: `shop/b1` on n1, `shop/b2` on n2, `shop/b3` on n3, which tests of change alone put to use. Clients: pods, the nodes' own processes, two
//! hosts outside. The addresses of load balancers (192.0.2.0/24, 2001:db8:2::/64) and external ones (198.51.100.0/24, 2001:db8:51::/64) lead to n1.
//!
//! Not here: what is asked.

use super::table::{Hook, Mode, Setting};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use std::{fs, thread};
use weir_lab::{self as lab, Lab, NodePlan, Peer, Place, Plan, PodPlan, Policyd, ServicePlan};

/// The port of every service.
pub(crate) const PORT: u16 = 80;
/// Where backends tell who they are.
pub(crate) const TELLS: u16 = 8080;
/// Where ports of nodes begin that backends tell at by SCTP too, as they do at [`PORT`]: it is never given another port.
pub(crate) const NODE_PORTS: u16 = 30_000;
/// How many there are.
const MANY_NODE_PORTS: usize = 100;
/// A service's port whose backends echo.
pub(crate) const ECHO_PORT: u16 = 7;
/// A service's port whose backends do not listen.
pub(crate) const CLOSED_PORT: u16 = 9;
/// Where backends echo.
const ECHOES: u16 = 8007;
/// Where they do not listen.
const CLOSED: u16 = 8009;
/// What must come gets this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// What must not come gets this long.
pub(crate) const BRIEFLY: Duration = Duration::from_millis(250);

/// The zone of n1,
pub(crate) const EAST: &str = "east";
/// and that of the other nodes.
pub(crate) const WEST: &str = "west";

pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];
const BACKENDS: [(&str, &str); 3] = [("shop/b1", "n1"), ("shop/b2", "n2"), ("shop/b3", "n3")];
const PODS: [(&str, &str); 3] = [("shop/c1", "n1"), ("shop/c2", "n2"), ("shop/c3", "n3")];

/// A lab whose nodes balance, and the peers in it.
pub(crate) struct Stage<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) daemons: Vec<Policyd<'a>>,
    peers: Vec<(&'a Place, Peer)>,
}

/// The lab of a setting; `None` where labs cannot be made.
pub(crate) fn lab_of(setting: Setting) -> Option<Lab> {
    if !lab::available() {
        return None;
    }
    let mut plan = Plan::new().elsewhere();
    plan = plan.led("n1", &["192.0.2.0/24", "2001:db8:2::/64", "198.51.100.0/24", "2001:db8:51::/64"]);
    // Nobody outside should know these, but somebody may.
    plan = plan.led("n1", &["10.96.0.0/24", "fd00:96::/64"]);
    for (node, zone) in NODES.into_iter().zip([EAST, WEST, WEST]) {
        plan = plan.node(NodePlan::new(node).label("topology.kubernetes.io/zone", zone));
    }
    for (pod, node) in BACKENDS.into_iter().chain(PODS) {
        plan = plan.pod(PodPlan::new(pod, node));
    }
    if setting.hook == Hook::Xdp {
        plan = plan.wire_of_hardware();
    }
    Some(plan.build().unwrap())
}

impl<'a> Stage<'a> {
    /// Starts peers and daemons, and waits until the services are balanced on every node.
    pub(crate) fn set(lab: &'a Lab, setting: Setting, services: &[ServicePlan]) -> io::Result<Stage<'a>> {
        Stage::set_with(lab, setting, services, "")
    }

    /// The same with more of the configuration of balancing.
    pub(crate) fn set_with(
        lab: &'a Lab,
        setting: Setting,
        services: &[ServicePlan],
        more: &str,
    ) -> io::Result<Stage<'a>> {
        let services = lab.services_yaml(services);
        let begin = |node: &str| {
            let config = config(lab.node(node), setting, more);
            Policyd::begin_with_files(lab, node, &[("services.yaml", &services)], &config)
        };
        let daemons = NODES.iter().map(|node| begin(node)).collect::<io::Result<Vec<_>>>()?;
        let mut peers = Vec::new();
        for place in NODES.map(|node| lab.node(node)).into_iter().chain([lab.outside(), lab.elsewhere()]) {
            peers.push((place, Peer::start(place)?));
        }
        let sctp: Vec<u16> = [PORT].into_iter().chain((NODE_PORTS..).take(MANY_NODE_PORTS)).collect();
        for (pod, _) in BACKENDS.into_iter().chain(PODS) {
            let (place, peer) = (lab.pod(pod), Peer::start(lab.pod(pod))?);
            for address in place.addresses() {
                peer.tell((address, TELLS).into(), pod)?;
                peer.tell_sctp(address, &sctp, pod)?;
                peer.listen_tcp((address, ECHOES).into())?;
                peer.listen_udp((address, ECHOES).into())?;
            }
            peers.push((place, peer));
        }
        let stage = Stage { lab, daemons, peers };
        for (daemon, own) in stage.daemons.iter().zip(NODES) {
            daemon.until_balanced(pods_of(own))?;
        }
        Ok(stage)
    }

    /// The peer of a node, a pod, `outside` or `elsewhere`.
    pub(crate) fn peer(&self, name: &str) -> &Peer {
        self.at(name).1
    }

    /// The place of the same.
    pub(crate) fn place(&self, name: &str) -> &'a Place {
        self.at(name).0
    }

    fn at(&self, name: &str) -> (&'a Place, &Peer) {
        let found = self.peers.iter().find(|(place, _)| place.name() == name);
        let Some((place, peer)) = found else { panic!("the stage has no `{name}`") };
        (*place, peer)
    }

    /// Changes the services on every node, and returns at once.
    pub(crate) fn write_services(&self, services: &[ServicePlan]) {
        let services = self.lab.services_yaml(services);
        for daemon in &self.daemons {
            daemon.write_file("services.yaml", &services).unwrap();
        }
    }

    /// Changes the services on every node, and waits until what is new is in force.
    pub(crate) fn change_services(&self, services: &[ServicePlan]) {
        change(self.lab, &self.daemons, services);
    }
}

/// How many pods a node has.
pub(crate) fn pods_of(node: &str) -> usize {
    BACKENDS.into_iter().chain(PODS).filter(|(_, own)| *own == node).count()
}

/// Changes the services in the folders of these daemons, and waits until what is new is in force. Slots that settle make another image too,
/// so what is waited for has another number of services.
pub(crate) fn change(lab: &Lab, daemons: &[Policyd<'_>], services: &[ServicePlan]) {
    let mut services = services.to_vec();
    let is_so_now = |daemon: &Policyd<'_>| daemon.services().unwrap() == Some(services.len());
    if daemons.iter().any(is_so_now) {
        services.push(service("shop/one-more", 254).endpoint("shop/c2"));
    }
    let text = lab.services_yaml(&services);
    for daemon in daemons {
        daemon.write_file("services.yaml", &text).unwrap();
    }
    for daemon in daemons {
        daemon.until_so_many_services(services.len()).unwrap();
    }
}

/// What a daemon is told.
fn config(node: &Place, setting: Setting, more: &str) -> String {
    let mode = match setting.mode {
        Mode::Snat => "mode: snat",
        Mode::DsrIpip => "mode: dsr, dispatch: ipip",
        Mode::DsrOption => "mode: dsr, dispatch: option",
        Mode::Hybrid => "mode: hybrid, dispatch: ipip",
    };
    let hook = if setting.hook == Hook::Tc { "tc" } else { "xdp" };
    let sockets = match node.control_group().filter(|_| setting.sockets) {
        Some(group) => format!("{{enabled: true, cgroup: {}}}", group.display()),
        None => "{enabled: false}".to_owned(),
    };
    format!("balancing: {{{mode}, devices: {{mode: {hook}}}, sockets: {sockets}{more}}}\n")
}

/// The addresses of a kind of front, by a number of the service.
pub(crate) fn cluster_ips(number: u8) -> [IpAddr; 2] {
    pair([10, 96, 0, number], [0xfd00, 0x96, 0, 0, 0, 0, 0, number.into()])
}

/// The same of load balancers.
pub(crate) fn balancer_ips(number: u8) -> [IpAddr; 2] {
    pair([192, 0, 2, number], [0x2001, 0xdb8, 2, 0, 0, 0, 0, number.into()])
}

/// The same of external addresses.
pub(crate) fn external_ips(number: u8) -> [IpAddr; 2] {
    pair([198, 51, 100, number], [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, number.into()])
}

fn pair(v4: [u8; 4], v6: [u16; 8]) -> [IpAddr; 2] {
    [Ipv4Addr::from(v4).into(), Ipv6Addr::from(v6).into()]
}

/// A service of both families and both protocols, with a cluster address.
pub(crate) fn service(name: &str, number: u8) -> ServicePlan {
    let [v4, v6] = cluster_ips(number);
    ServicePlan::new(name).cluster_ip(v4).cluster_ip(v6).port("TCP", PORT, TELLS).port("UDP", PORT, TELLS)
}

/// The same with the addresses of a load balancer, SCTP, and ports that echo and that are closed; the one that echoes is closed to SCTP.
pub(crate) fn balanced(name: &str, number: u8) -> ServicePlan {
    let [v4, v6] = balancer_ips(number);
    let service = service(name, number).kind("LoadBalancer").balancer_ip(v4).balancer_ip(v6);
    let service = service.port("TCP", ECHO_PORT, ECHOES).port("UDP", ECHO_PORT, ECHOES);
    let service = service.port("TCP", CLOSED_PORT, CLOSED).port("UDP", CLOSED_PORT, CLOSED);
    [PORT, ECHO_PORT, CLOSED_PORT].into_iter().fold(service, |service, port| service.port("SCTP", port, port))
}

/// An address and a port of services.
pub(crate) fn at(address: IpAddr, port: u16) -> SocketAddr {
    (address, port).into()
}

/// Waits until something is so, and says whether it came to be in time.
pub(crate) fn comes_true(within: Duration, is_so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + within;
    while !is_so() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn nodes_have_control_groups_of_their_own() {
    let setting = Setting { mode: Mode::Snat, hook: Hook::Tc, sockets: true };
    let Some(lab) = lab_of(setting) else { return };
    for (place, node) in [("shop/c1", "n1"), ("shop/b2", "n2")] {
        let of = |place: &Place| {
            let output = place.command("cat").arg("/proc/self/cgroup").output().unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            told.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned).unwrap()
        };
        assert_eq!(of(lab.pod(place)), of(lab.node(node)));
        let group = lab.node(node).control_group().unwrap();
        assert!(group.to_str().unwrap().ends_with(&of(lab.node(node))), "{}", group.display());
        let inside = lab.node(node).path(group.join("cgroup.procs").to_str().unwrap());
        assert!(fs::exists(inside).unwrap(), "{}", group.display());
    }
    assert!(lab.outside().control_group().is_none());
}
