//! The table of the suite: what may be combined, and the rules by which combinations are left out, each with its reason.
//!
//! Everything is seen from `n1`, which is the balancer: its address is the one that NodePort is asked at, and the addresses of load
//! balancers and external ones lead to it. Backends are `b1` on `n1` and `b2` on `n2`; `n3` has none.
//!
//! Not here: what is expected of a case.

use super::expectation::Expected;
use std::fmt;
use weir_lab::Transport;

/// How a service is addressed, by the kind of service that has such an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Front {
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalIp,
}

/// The address that is called, and by which kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
    /// An IPv4 address from an IPv6 socket.
    V4InV6,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// The backend on the balancer, so perhaps itself.
    B1,
    /// The backend elsewhere.
    B2,
    /// A pod on the balancer.
    C1,
    /// A pod on the node of the backend elsewhere.
    C2,
    /// A pod on a node without backends.
    C3,
    /// The balancer's own processes.
    N1,
    /// Those of the node of the backend elsewhere.
    N2,
    /// Those of a node without backends.
    N3,
    Outside,
    /// Another host outside.
    Elsewhere,
}

/// Where backends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backends {
    /// `b1`, on the balancer.
    Here,
    /// `b2`, elsewhere.
    There,
    Both,
}

/// The traffic policy that the front asks: the internal one of a cluster address, else the external one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    Cluster,
    Local,
}

/// How what comes from outside is sent to a backend elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Snat,
    DsrIpip,
    DsrOption,
    /// DSR by IPIP for TCP, SNAT for all else.
    Hybrid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Tc,
    Xdp,
}

/// A configuration of daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) mode: Mode,
    pub(crate) hook: Hook,
    /// Whether there are programs at sockets.
    pub(crate) sockets: bool,
}

/// A service, one for all clients and transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) front: Front,
    pub(crate) backends: Backends,
    pub(crate) policy: Policy,
    pub(crate) affinity: bool,
}

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) setting: Setting,
    pub(crate) asked: Asked,
    pub(crate) client: Client,
    pub(crate) transport: Transport,
    pub(crate) family: Family,
}

/// Where a call becomes one to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// At the client's socket.
    Socket,
    /// At the veth of the client's pod.
    Veth,
    /// At the balancer, to which it came by wire.
    Wire,
}

/// What is not as it should be yet, each with its reason. Empty, or somebody is at work.
pub(crate) const PENDING: &[Rule] = &[];

const FRONTS: [Front; 4] = [Front::ClusterIp, Front::NodePort, Front::LoadBalancer, Front::ExternalIp];
const FAMILIES: [Family; 3] = [Family::V4, Family::V6, Family::V4InV6];
const CLIENTS: [Client; 10] = [
    Client::B1,
    Client::B2,
    Client::C1,
    Client::C2,
    Client::C3,
    Client::N1,
    Client::N2,
    Client::N3,
    Client::Outside,
    Client::Elsewhere,
];
const BACKENDS: [Backends; 3] = [Backends::Here, Backends::There, Backends::Both];
const POLICIES: [Policy; 2] = [Policy::Cluster, Policy::Local];
const MODES: [Mode; 4] = [Mode::Snat, Mode::DsrIpip, Mode::DsrOption, Mode::Hybrid];
const HOOKS: [Hook; 2] = [Hook::Tc, Hook::Xdp];
const TRANSPORTS: [Transport; 4] =
    [Transport::Tcp, Transport::Udp, Transport::UdpUnconnected, Transport::Sctp];

/// A rule: why a case is left out, and whether it is.
type Rule = (&'static str, fn(&Case) -> bool);

/// Why cases are left out.
const RULES: &[Rule] = &[
    (
        "no way leads there: to a cluster address by wire (refusals.rs), to n1's own services from its own processes without their sockets",
        |case| case.way().is_none(),
    ),
    ("that nobody answers does not depend on how it would be sent on", |case| {
        case.expected() == Expected::Nobody && case.setting.mode != Mode::Snat
    }),
    ("what is told by sockets and veths does not know of modes and hooks", |case| {
        let first = (case.setting.mode, case.setting.hook) == (Mode::Snat, Hook::Tc);
        case.way() != Some(Way::Wire) && !first
    }),
    ("which socket of the client's it is matters to programs at sockets", |case| {
        let plain = case.family != Family::V4InV6 && case.transport != Transport::UdpUnconnected;
        case.way() != Some(Way::Socket) && !plain
    }),
    ("n2 stands to b2 as n1 to b1, but for what comes to n1 by wire and for n1's own address", |case| {
        let is_on_n2 = matches!(case.client, Client::B2 | Client::C2 | Client::N2);
        is_on_n2 && case.way() != Some(Way::Wire) && case.asked.front != Front::NodePort
    }),
    ("programs at sockets have no part in what comes by wire from outside, nor in SCTP", |case| {
        // Without them more clients come by wire, but these come as they do with them.
        (case.client.is_outside() || case.transport == Transport::Sctp) && !case.setting.sockets
    }),
    ("the other host outside is one more outside", |case| {
        case.client == Client::Elsewhere && case.asked.front != Front::LoadBalancer
    }),
    ("affinity shows where there is a choice", |case| {
        case.asked.affinity && case.asked.backends != Backends::Both
    }),
    ("under affinity one choice is as good as another", |case| {
        case.asked.affinity && case.asked.policy == Policy::Local
    }),
    ("a node believes its own address of its sockets, and no program finds those of SCTP (0016)", |case| {
        let may_be_beside = case.client == Client::N2 && case.asked.backends != Backends::Here;
        let may_leave_n1 = case.asked.policy == Policy::Cluster;
        let is_led_back = case.way() == Some(Way::Wire) && case.is_direct() && may_be_beside && may_leave_n1;
        is_led_back && case.transport == Transport::Sctp
    }),
];

impl Setting {
    /// All that the table has, those first that have the most cases.
    pub(crate) fn all() -> Vec<Setting> {
        let of = |mode, hook, sockets| Setting { mode, hook, sockets };
        let with = MODES.into_iter().flat_map(|mode| HOOKS.map(|hook| of(mode, hook, true)));
        // Without programs at sockets the nodes' own processes come by wire, like any host.
        with.chain(
            [(Mode::Snat, Hook::Tc), (Mode::DsrIpip, Hook::Tc), (Mode::DsrOption, Hook::Xdp)]
                .map(|(mode, hook)| of(mode, hook, false)),
        )
        .collect()
    }

    /// The cases of this setting.
    pub(crate) fn cases(self) -> Vec<Case> {
        self.combinations().into_iter().filter(|case| RULES.iter().all(|(_, is_out)| !is_out(case))).collect()
    }

    fn combinations(self) -> Vec<Case> {
        let mut all = Vec::new();
        for asked in Asked::all() {
            for client in CLIENTS {
                for transport in TRANSPORTS {
                    all.extend(FAMILIES.map(|family| Case {
                        setting: self,
                        asked,
                        client,
                        transport,
                        family,
                    }));
                }
            }
        }
        all
    }
}

impl Asked {
    /// Every service that the table asks.
    pub(crate) fn all() -> Vec<Asked> {
        let mut all = Vec::new();
        for front in FRONTS {
            for backends in BACKENDS {
                for policy in POLICIES {
                    all.extend([false, true].map(|affinity| Asked { front, backends, policy, affinity }));
                }
            }
        }
        all
    }
}

impl Client {
    /// The pod, if it is one.
    pub(crate) fn pod(self) -> Option<&'static str> {
        match self {
            Client::B1 => Some("shop/b1"),
            Client::B2 => Some("shop/b2"),
            Client::C1 => Some("shop/c1"),
            Client::C2 => Some("shop/c2"),
            Client::C3 => Some("shop/c3"),
            _ => None,
        }
    }

    /// The node that it is or is on.
    pub(crate) fn node(self) -> Option<&'static str> {
        match self {
            Client::B1 | Client::C1 | Client::N1 => Some("n1"),
            Client::B2 | Client::C2 | Client::N2 => Some("n2"),
            Client::C3 | Client::N3 => Some("n3"),
            Client::Outside | Client::Elsewhere => None,
        }
    }

    pub(crate) fn is_outside(self) -> bool {
        self.node().is_none()
    }
}

impl Case {
    /// Where the call becomes one to a backend; `None` if nowhere.
    pub(crate) fn way(&self) -> Option<Way> {
        // A node knows the services, and the ports of nodes at each of them.
        let knows = !self.client.is_outside();
        let leads_to_n1 = self.asked.front != Front::ClusterIp && self.client.node() != Some("n1");
        if knows && self.setting.sockets && self.transport != Transport::Sctp {
            Some(Way::Socket)
        } else if knows && self.client.pod().is_some() {
            Some(Way::Veth)
        } else {
            leads_to_n1.then_some(Way::Wire)
        }
    }

    /// Whether the backend answers the client without the balancer, if it is elsewhere and the call came by wire.
    pub(crate) fn is_direct(&self) -> bool {
        match self.setting.mode {
            Mode::Snat => false,
            Mode::DsrIpip | Mode::DsrOption => true,
            Mode::Hybrid => self.transport == Transport::Tcp,
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        PENDING.iter().any(|(_, part)| part(self))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Snat => "snat",
            Mode::DsrIpip => "dsr-ipip",
            Mode::DsrOption => "dsr-option",
            Mode::Hybrid => "hybrid",
        };
        let hook = if self.hook == Hook::Tc { "tc" } else { "xdp" };
        let sockets = if self.sockets { "sockets" } else { "no sockets" };
        write!(f, "{mode} {hook} {sockets}")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked { front, backends, policy, affinity } = self.asked;
        let Case { setting, client, transport, family, .. } = self;
        write!(
            f,
            "{setting}: {client:?} calls {front:?} by {transport:?} {family:?}, backends {backends:?}, {policy:?}"
        )?;
        if affinity { f.write_str(", affinity") } else { Ok(()) }
    }
}

#[test]
fn the_table_has_every_dimension_and_no_idle_rule() {
    let all: Vec<Case> = Setting::all().into_iter().flat_map(Setting::combinations).collect();
    let cases: Vec<Case> = Setting::all().into_iter().flat_map(Setting::cases).collect();
    println!("{} of {} combinations are cases", cases.len(), all.len());
    for (why, is_out) in RULES {
        let alone = |case: &&Case| RULES.iter().all(|(other, is_out)| is_out(case) == (other == why));
        println!(
            "{:6} left out, {:6} by this alone: {why}",
            all.iter().filter(|case| is_out(case)).count(),
            all.iter().filter(alone).count()
        );
        assert!(all.iter().any(|case| alone(&case)), "no case is left out by this rule alone: {why}");
    }
    assert!(cases.len() >= 400);
    let has = |what: &dyn Fn(&Case) -> bool| cases.iter().any(what);
    for client in CLIENTS {
        assert!(has(&|case| case.client == client), "{client:?}");
    }
    for asked in [FRONTS.map(|front| Asked {
        front,
        backends: Backends::Both,
        policy: Policy::Cluster,
        affinity: true,
    })]
    .concat()
    {
        assert!(has(&|case| case.asked == asked), "{asked:?}");
    }
    for transport in TRANSPORTS {
        for family in FAMILIES {
            // A socket of SCTP is one like another: no program sees it.
            let is_left_out = (transport, family) == (Transport::Sctp, Family::V4InV6);
            assert_eq!(
                has(&|case| (case.transport, case.family) == (transport, family)),
                !is_left_out,
                "{transport:?} {family:?}"
            );
        }
    }
    for way in [Way::Socket, Way::Veth, Way::Wire] {
        assert!(has(&|case| case.way() == Some(way)), "{way:?}");
        let by_sctp = has(&|case| case.transport == Transport::Sctp && case.way() == Some(way));
        assert_eq!(by_sctp, way != Way::Socket, "{way:?}");
    }
    for setting in Setting::all().into_iter().filter(|setting| setting.sockets) {
        assert!(has(&|case| case.transport == Transport::Sctp && case.setting == setting), "{setting}");
    }
}
