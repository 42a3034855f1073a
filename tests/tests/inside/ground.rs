//! A node with pods, a cgroup that the test is in, and a balancer whose programs stand at it.

use crate::server::{PORT, Server};
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_abi::services::ServiceImage;
use weir_compiler::image::write::ImageBytes;
use weir_compiler::services::{Input, KEEP_ALL, Previous, compile};
use weir_lab::{Lab, Place, Plan, PodPlan, available};
use weir_runtime::balancer::{Balancer, BalancerOptions};
use weir_runtime::datapath::KernelBalancer;
use weir_tests::world::World;

/// The folder of pins, as the node has it.
pub(crate) const PINS: &str = "/sys/fs/bpf/weir";
/// Where a node has the cgroups.
const CGROUPS: &str = "/sys/fs/cgroup";
/// All but the last serve.
const PODS: [&str; 4] = ["one", "two", "three", "client"];
/// One test at a time: its cgroup is the process's.
static TURN: Mutex<()> = Mutex::new(());

/// How a socket reaches an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    V4,
    V6,
    /// IPv4, from a socket of IPv6.
    Mapped,
}

impl Way {
    pub(crate) const ALL: [Way; 3] = [Way::V4, Way::V6, Way::Mapped];

    /// One of two addresses, as such a socket writes it.
    pub(crate) fn of(self, [v4, v6]: [IpAddr; 2], port: u16) -> SocketAddr {
        match (self, v4) {
            (Way::Mapped, IpAddr::V4(v4)) => (v4.to_ipv6_mapped(), port).into(),
            (Way::V6, _) => (v6, port).into(),
            _ => (v4, port).into(),
        }
    }
}

/// The addresses of a service, by its number.
pub(crate) fn cluster_ips(number: u8) -> [IpAddr; 2] {
    [[10, 96, 0, number].into(), Ipv6Addr::new(0xFD00, 0x96, 0, 0, 0, 0, 0, number.into()).into()]
}

/// A service of both families and both protocols at port 80, and who serves it on which node. `spec` is what its spec has besides.
pub(crate) fn service(name: &str, number: u8, spec: &str, node: &str, serving: &[&Place]) -> String {
    let addresses: Vec<_> = serving.iter().map(|place| place.addresses()).collect();
    service_at(name, number, spec, node, &addresses)
}

/// The same, served at these addresses.
pub(crate) fn service_at(name: &str, number: u8, spec: &str, node: &str, serving: &[[IpAddr; 2]]) -> String {
    let [v4, v6] = cluster_ips(number);
    let mut text = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{clusterIP: {v4}, clusterIPs: [{v4}, \"{v6}\"], ipFamilies: [IPv4, IPv6], ipFamilyPolicy: RequireDualStack, \
         {spec}}}\n"
    );
    for (at, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
        let endpoint = |addresses: &[IpAddr; 2]| {
            format!("{{addresses: [\"{}\"], conditions: {{ready: true}}, nodeName: {node}}}", addresses[at])
        };
        let endpoints: Vec<String> = serving.iter().map(endpoint).collect();
        _ = write!(
            text,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: {name}-{at}, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}\n\
             addressType: {family}\nports: [{{name: t, protocol: TCP, port: {PORT}}}, {{name: u, protocol: UDP, port: {PORT}}}]\n\
             endpoints: [{}]\n",
            endpoints.join(", ")
        );
    }
    text
}

/// Ports of a service that is reached inside alone.
pub(crate) const PORTS: &str =
    "ports: [{name: t, protocol: TCP, port: 80}, {name: u, protocol: UDP, port: 80}]";

/// It.
pub(crate) struct Ground {
    pub(crate) lab: Lab,
    _servers: Vec<Server>,
    pub(crate) options: BalancerOptions,
    pub(crate) balancer: Option<KernelBalancer>,
    image: Option<ImageBytes>,
    cgroup: PathBuf,
    above: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Ground {
    /// Pods `one`, `two` and `three` that can serve, and `client`, on node `n1`; sockets are balanced. `None`, said aloud, where it cannot be.
    pub(crate) fn lay() -> Option<Ground> {
        Ground::lay_with(BalancerOptions::default())
    }

    pub(crate) fn lay_with(options: BalancerOptions) -> Option<Ground> {
        Ground::lay_by(options, true)
    }

    /// The same, but sockets are not balanced, so packets are.
    pub(crate) fn lay_veths(options: BalancerOptions) -> Option<Ground> {
        let mut ground = Ground::lay_by(options, false)?;
        let balancer = ground.balancer.as_mut().unwrap();
        let index = |pod: &&str| ground.lab.host_interface(&format!("shop/{pod}")).unwrap().index;
        let interfaces = PODS.iter().map(index).collect();
        ground.lab.node("n1").inside(|| balancer.set_pods(&interfaces).unwrap()).unwrap();
        Some(ground)
    }

    fn lay_by(options: BalancerOptions, by_sockets: bool) -> Option<Ground> {
        if !available() {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = PODS.map(|pod| PodPlan::new(&format!("shop/{pod}"), "n1"));
        let plan = pods.into_iter().fold(Plan::new().node("n1"), Plan::pod);
        let lab = plan.build().unwrap();
        let servers =
            PODS[..3].iter().map(|pod| Server::everywhere(lab.pod(&format!("shop/{pod}")))).collect();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let above = Path::new(CGROUPS).join(own);
        let cgroup = above.join(format!("weir-sockets-{}", std::process::id()));
        let options =
            BalancerOptions { pin_root: PINS.into(), cgroup: by_sockets.then(|| cgroup.clone()), ..options };
        let mut ground = Ground {
            lab,
            _servers: servers,
            options,
            balancer: None,
            image: None,
            cgroup,
            above,
            _turn: turn,
        };
        ground.enter_cgroup();
        ground.open();
        Some(ground)
    }

    fn enter_cgroup(&self) {
        let cgroup = &self.cgroup;
        let entered = self.at_node(|| fs::create_dir_all(cgroup).and_then(|()| join(cgroup)));
        entered.unwrap_or_else(|error| panic!("no cgroup {}: {error}", cgroup.display()));
    }

    /// Opens the balancer, as the next process would.
    pub(crate) fn open(&mut self) {
        self.balancer = None;
        let options = &self.options;
        let opened = self.lab.node("n1").inside(|| {
            let mut balancer = KernelBalancer::open(options)?;
            balancer.set_sockets().map(|()| balancer)
        });
        self.balancer = Some(opened.unwrap().unwrap());
    }

    /// Puts services in force. True if programs were replaced for it.
    pub(crate) fn install(&mut self, services: &str) -> bool {
        let manifests = self.lab.cluster_yaml() + services;
        let world = World::read(vec![("services.yaml".to_owned(), manifests.into_bytes())]);
        assert_eq!(world.errors(), Vec::<String>::new());
        let last = self.image.take();
        let opened = last.as_ref().map(|image| ServiceImage::open(image.as_bytes()).unwrap());
        let previous = opened.map(|image| Previous { image, keeps: KEEP_ALL });
        let node = world.cluster.node_named("n1");
        let input = Input { node, previous, ..Input::new(&world.cluster, &world.sources) };
        let image = compile(&input).unwrap().bytes;
        let balancer = self.balancer.as_mut().unwrap();
        let installed = self.lab.node("n1").inside(|| balancer.install(image.as_bytes()).unwrap()).unwrap();
        self.image = Some(image);
        installed.grown
    }

    pub(crate) fn pod(&self, name: &str) -> &Place {
        self.lab.pod(&format!("shop/{name}"))
    }

    pub(crate) fn node(&self) -> &Place {
        self.lab.node("n1")
    }

    /// Does work in the node's own network.
    pub(crate) fn at_node<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.node().inside(work).unwrap()
    }
}

/// Moves this process to a cgroup.
fn join(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")
}

impl Drop for Ground {
    fn drop(&mut self) {
        // The next test has a node of its own, so what stays behind here disturbs nobody.
        let (cgroup, above) = (&self.cgroup, &self.above);
        _ = self.node().inside(|| join(above).and_then(|()| fs::remove_dir(cgroup)));
    }
}
