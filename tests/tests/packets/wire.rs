//! A pod's interface to send packets through, and who is around the pod.
//!
//! The pod may be called by its client on TCP 80, UDP 53 and SCTP 80, and be pinged by its client and its database. It may call its
//! database on TCP 5432 and UDP 53, ping it, and call a prefix outside on TCP 443. HTTP on 8080 goes to a proxy, which is not there.
//!
//! The kernel takes a second or two to believe the programs, so tests take turns with one datapath. Each begins with no connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};
use weir_abi::state::{ConntrackRecord, Counter, Hook};
use weir_abi::{Identity, Image};
use weir_compiler::parties::PartyIdentities;
use weir_runtime::datapath::{Arrival, Departure, Endpoint, Fate, Options};
use weir_tests::kernel::packet::{Ip, Transport, frame};
use weir_tests::kernel::{Kernel, LOOPBACK, Traces};
use weir_tests::world::World;

pub(crate) const HTTPS: u16 = 443;
/// Where clients call from.
pub(crate) const SOURCE: u16 = 40_000;

/// What became of a packet, and the reason that was counted.
pub(crate) type Told = (Fate, &'static str);

pub(crate) const ALLOWED: Told = (Fate::Passed, "allowed-by-rule");
pub(crate) const REPLY: Told = (Fate::Passed, "reply");
pub(crate) const RELATED: Told = (Fate::Passed, "related");
pub(crate) const NEIGHBOUR: Told = (Fate::Passed, "neighbour-discovery");
pub(crate) const DENIED: Told = (Fate::Dropped, "default-deny");
pub(crate) const OWN_NODE: Told = (Fate::Passed, "own-node");
pub(crate) const MALFORMED: Told = (Fate::Dropped, "malformed");
pub(crate) const SPOOFED: Told = (Fate::Dropped, "spoofed-source");
pub(crate) const UNSUPPORTED: Told = (Fate::Dropped, "unsupported-protocol");
pub(crate) const UNKNOWN_FRAGMENT: Told = (Fate::Dropped, "unknown-fragment");

/// Everybody's address of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) pod: IpAddr,
    pub(crate) client: IpAddr,
    pub(crate) database: IpAddr,
    /// A pod that may do nothing.
    pub(crate) stranger: IpAddr,
    /// The pod's node.
    pub(crate) node: IpAddr,
    /// Where the pod may call on port 443.
    pub(crate) outside: IpAddr,
    /// A router on the way; nobody's rules name it.
    pub(crate) router: IpAddr,
}

const V4: Ends = Ends {
    pod: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)),
    client: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2)),
    database: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 3)),
    stranger: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 4)),
    node: IpAddr::V4(Ipv4Addr::new(192, 168, 0, 1)),
    outside: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
    router: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
};

pub(crate) const V6: Ends = Ends {
    pod: v6(0xFD09, 1),
    client: v6(0xFD09, 2),
    database: v6(0xFD09, 3),
    stranger: v6(0xFD09, 4),
    node: v6(0xFD0A, 1),
    outside: v6(0x2001, 7),
    router: v6(0x2002, 1),
};

pub(crate) const FAMILIES: [Ends; 2] = [V4, V6];

const fn v6(prefix: u16, last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(prefix, 0, 0, 0, 0, 0, 0, last))
}

impl Ends {
    /// Whether it is the IPv6 one.
    pub(crate) const fn are_v6(&self) -> bool {
        self.pod.is_ipv6()
    }
}

const CLUSTER: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Node, metadata: {name: n1},
 status: {addresses: [{type: InternalIP, address: 192.168.0.1}, {type: InternalIP, address: "fd0a::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}},
 spec: {nodeName: n1, containers: []}, status: {podIPs: [{ip: 10.9.0.1}, {ip: "fd09::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop, labels: {app: client}},
 spec: {nodeName: n1, containers: []}, status: {podIPs: [{ip: 10.9.0.2}, {ip: "fd09::2"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}},
 spec: {nodeName: n1, containers: []}, status: {podIPs: [{ip: 10.9.0.3}, {ip: "fd09::3"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: stranger, namespace: shop, labels: {app: stranger}},
 spec: {nodeName: n1, containers: []}, status: {podIPs: [{ip: 10.9.0.4}, {ip: "fd09::4"}]}}
"#;

/// What the pod's policies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// As told above.
    Open,
    /// The same, but none may call TCP 80 and the pod may not call TCP 5432.
    Narrowed,
    /// Nothing at all.
    Closed,
}

const ECHO: &str = "{icmps: [{fields: [{family: IPv4, type: 8}, {family: IPv6, type: 128}]}]";

fn world(policy: Policy) -> World {
    let (web, sql) = if policy == Policy::Narrowed { (81, 5433) } else { (80, 5432) };
    let (client, database) = ("{matchLabels: {app: client}}", "{matchLabels: {app: db}}");
    let rules = if policy == Policy::Closed {
        "  ingress:\n  - fromEntities: [none]\n  egress:\n  - toEntities: [none]\n".to_owned()
    } else {
        format!(
            "  ingress:
  - fromEndpoints: [{client}]
    toPorts:
    - ports: [{{port: \"{web}\", protocol: TCP}}, {{port: \"53\", protocol: UDP}}, {{port: \"80\", protocol: SCTP}}]
    - ports: [{{port: \"8080\", protocol: TCP}}]
      rules: {{http: [{{method: GET}}]}}
  - fromEndpoints: [{client}, {database}]
    {icmps}
  egress:
  - toEndpoints: [{database}]
    toPorts:
    - ports: [{{port: \"{sql}\", protocol: TCP}}, {{port: \"53\", protocol: UDP}}]
  - toEndpoints: [{database}]
    {icmps}
  - toCIDR: [203.0.113.0/24, \"2001::/64\"]
    toPorts:
    - ports: [{{port: \"443\", protocol: TCP}}]
",
            icmps = ECHO.trim_start_matches('{'),
        )
    };
    let policies = format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: web, namespace: shop}}\n\
         spec:\n  endpointSelector: {{matchLabels: {{app: web}}}}\n{rules}"
    );
    let files = [("policies.yaml", policies), ("cluster.yaml", CLUSTER.to_owned())];
    let world = World::read(files.map(|(name, text)| (name.to_owned(), text.into_bytes())).to_vec());
    assert_eq!(world.errors(), [""; 0]);
    world
}

/// The pod's interface.
pub(crate) struct Wire {
    pub(crate) kernel: Kernel,
    pub(crate) traces: Traces,
}

/// A test's turn with the wire. The last to have one takes it out of the kernel.
pub(crate) struct Turn(Option<Wire>);

/// The wire while nobody has a turn, and how many have one or wait for it.
struct Resting {
    wire: Option<Wire>,
    is_taken: bool,
    users: usize,
}

static RESTING: Mutex<Resting> = Mutex::new(Resting { wire: None, is_taken: false, users: 0 });
static RETURNED: Condvar = Condvar::new();

impl Drop for Turn {
    fn drop(&mut self) {
        let mut resting = RESTING.lock().unwrap_or_else(PoisonError::into_inner);
        resting.users -= 1;
        resting.is_taken = false;
        resting.wire = self.0.take().filter(|_| resting.users > 0);
        RETURNED.notify_one();
    }
}

impl Deref for Turn {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        self.0.as_ref().unwrap()
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Wire {
        self.0.as_mut().unwrap()
    }
}

impl Wire {
    /// Under [`Policy::Open`]; where the kernel can be asked.
    pub(crate) fn open() -> Option<Turn> {
        let mut resting = RESTING.lock().unwrap_or_else(PoisonError::into_inner);
        resting.users += 1;
        while resting.is_taken {
            resting = RETURNED.wait(resting).unwrap_or_else(PoisonError::into_inner);
        }
        resting.is_taken = true;
        let mut turn = Turn(resting.wire.take());
        drop(resting);
        if turn.0.is_none() {
            turn.0 = Some(Wire::make()?);
        }
        turn.traces.forget_all().unwrap();
        turn.enforce(Policy::Open);
        turn.set_pod(Some(V6.pod));
        Some(turn)
    }

    fn make() -> Option<Wire> {
        let kernel = Kernel::open_with(Options {
            conntrack_v4: 4096,
            conntrack_v6: 4096,
            addresses: 4096,
            interfaces: 16,
            // Events that nobody reads would fill their buffer.
            drops_per_second: 0,
            ..Options::default()
        })?;
        let traces = kernel.traces().unwrap();
        Some(Wire { kernel, traces })
    }

    /// Puts policies in force.
    pub(crate) fn enforce(&mut self, policy: Policy) {
        let world = world(policy);
        let bytes = world.node_images().unwrap()[0].as_bytes();
        self.kernel.datapath.install_image(bytes, &[]).unwrap();
        let parties = PartyIdentities::new(&Image::open(bytes).unwrap(), &world.cluster);
        for (address, party) in world.cluster.addresses() {
            self.kernel.datapath.set_address(address, parties.identity(party, Some(0))).unwrap();
        }
    }

    /// Whose an address is, as the pod's node sees it.
    pub(crate) fn identity(&self, address: IpAddr) -> Identity {
        let world = world(Policy::Open);
        let image = world.node_images().unwrap()[0].as_bytes();
        let parties = PartyIdentities::new(&Image::open(image).unwrap(), &world.cluster);
        parties.identity(world.cluster.party(address), Some(0))
    }

    /// Puts the pod behind the interface, with an IPv6 address or without.
    pub(crate) fn set_pod(&mut self, v6: Option<IpAddr>) {
        let v6 = v6.and_then(|address| if let IpAddr::V6(address) = address { Some(address) } else { None });
        let endpoint = Endpoint { identity: self.identity(V4.pod), v4: Some(Ipv4Addr::new(10, 9, 0, 1)), v6 };
        self.kernel.datapath.set_endpoint(LOOPBACK, &endpoint).unwrap();
    }

    /// Sends a frame with a mark through a hook.
    pub(crate) fn send_marked(&self, hook: Hook, mark: u32, frame: &[u8]) -> Departure {
        self.kernel.datapath.send(&Arrival { hook, interface: LOOPBACK, mark, frame }).unwrap()
    }

    /// Sends a frame through a hook; what became of it, by the one reason that was counted.
    pub(crate) fn send_frame(&self, hook: Hook, frame: &[u8]) -> Told {
        let before = self.traces.reasons(hook).unwrap();
        let Departure { fate, .. } = self.send_marked(hook, 0, frame);
        let after = self.traces.reasons(hook).unwrap();
        let mut told = after.iter().filter(|(reason, count)| before[*reason] != **count);
        let (reason, _) = told.next().unwrap_or_else(|| panic!("{fate:?} for no reason"));
        assert_eq!(told.next(), None, "a packet has one reason, not {reason} too");
        (fate, reason)
    }

    /// Sends an IP packet to the pod.
    pub(crate) fn inward(&self, packet: &[u8]) -> Told {
        self.send_frame(Hook::ToPod, &frame(packet))
    }

    /// Sends an IP packet from the pod.
    pub(crate) fn outward(&self, packet: &[u8]) -> Told {
        self.send_frame(Hook::FromPod, &frame(packet))
    }

    /// Sends from one to the other, through the hook that the pod's side says.
    pub(crate) fn pass(&self, ends: &Ends, from: IpAddr, to: IpAddr, transport: &Transport) -> Told {
        let packet = Ip::new(from, to).carrying(transport);
        if from == ends.pod { self.outward(&packet) } else { self.inward(&packet) }
    }

    /// The one connection on record.
    pub(crate) fn connection(&self) -> ConntrackRecord {
        let connections = self.traces.connections().unwrap();
        let [connection] = connections.as_slice() else { panic!("not one connection: {connections:?}") };
        *connection
    }

    /// How many connections are on record.
    pub(crate) fn connections(&self) -> usize {
        self.traces.connections().unwrap().len()
    }

    /// A counter.
    pub(crate) fn counted(&self, counter: Counter) -> u64 {
        self.traces.counter(counter).unwrap()
    }
}
