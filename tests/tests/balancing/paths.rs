//! Packets that are no plain ones, on the stage of each setting: fragments, full-size packets whose way is narrower than they are, errors.
//!
//! Not here: who answers in which case (`suite.rs`).

use super::stage::{
    CLOSED_PORT, ECHO_PORT, PATIENCE, PORT, Stage, at, balanced, balancer_ips, cluster_ips, external_ips,
};
use super::suite::told;
use super::table::{Hook, Mode};
use std::net::IpAddr;
use weir_lab::wires::Wires;
use weir_lab::{Call, Contact, ServicePlan, Transport};

/// More than two packets of the wire.
const FRAGMENTED: usize = 4000;
/// A TCP message of many packets.
const LARGE: usize = 200_000;
/// Bytes of the largest datagrams that are one packet of the wire.
const FULL: [usize; 2] = [1500 - 20 - 8, 1500 - 40 - 8];
/// How often a client sends a datagram that may be too large, before and after it learns that.
const TRIES: usize = 4;

/// A service whose backend is on the balancer, and one whose is not.
const NUMBERS: [(u8, &str); 2] = [(101, "shop/b1"), (102, "shop/b2")];

/// What is looked at.
pub(crate) const PATHS: &[(&str, Path)] = &[
    ("a datagram in fragments, and its answer", fragments),
    ("an SCTP packet in fragments, and its answer", sctp_fragments),
    ("a large TCP message", large),
    ("datagrams as large as packets of the wire", full),
    ("the backend's port is closed", closed),
    ("a large TCP answer to a pod", inside),
];

/// Looks at one, for a family of addresses and a service by its number.
pub(crate) type Path = fn(&Walk<'_>) -> Result<(), String>;

/// Where it is looked at.
pub(crate) struct Walk<'a> {
    pub(crate) stage: &'a Stage<'a>,
    pub(crate) wires: &'a Wires,
    pub(crate) mode: Mode,
    pub(crate) hook: Hook,
    pub(crate) family: usize,
    pub(crate) number: u8,
    pub(crate) backend: &'static str,
}

/// The services of these paths.
pub(crate) fn services() -> Vec<ServicePlan> {
    let of = |(number, pod): (u8, &str)| {
        balanced(&format!("shop/path{number}"), number).external_ips(&external_ips(number)).endpoint(pod)
    };
    NUMBERS.map(of).to_vec()
}

/// The services with their backends.
pub(crate) fn numbers() -> [(u8, &'static str); 2] {
    NUMBERS
}

impl Walk<'_> {
    fn service(&self) -> IpAddr {
        balancer_ips(self.number)[self.family]
    }

    fn client(&self) -> IpAddr {
        self.stage.place("outside").addresses()[self.family]
    }

    fn call(&self, port: u16) -> Call {
        Call::to(at(self.service(), port)).from(at(self.client(), 0)).within(PATIENCE)
    }

    /// Whether the packets of a connection are larger on the way to the backend; an option is on the first alone.
    fn grows_by_tcp(&self) -> bool {
        self.backend != "shop/b1" && matches!(self.mode, Mode::DsrIpip | Mode::Hybrid)
    }

    /// Whether the client was told that something is too big.
    fn was_told_too_big(&self) -> bool {
        let is_it = |kind| kind == if self.family == 0 { (3, 4) } else { (2, 0) };
        let passed = self.wires.passed().unwrap();
        passed.iter().any(|one| one.packet.destination == self.client() && one.packet.icmp.is_some_and(is_it))
    }
}

fn fragments(walk: &Walk<'_>) -> Result<(), String> {
    in_the_end(walk, "outside", walk.call(PORT), Transport::Udp, FRAGMENTED)
}

fn sctp_fragments(walk: &Walk<'_>) -> Result<(), String> {
    in_the_end(walk, "outside", walk.call(PORT), Transport::Sctp, FRAGMENTED)
}

fn full(walk: &Walk<'_>) -> Result<(), String> {
    in_the_end(walk, "outside", walk.call(PORT), Transport::Udp, FULL[walk.family])
}

/// Packets of a size come through, once the client knows how wide the way is. A piece that comes before its first is lost, and nobody sends it
/// again.
fn in_the_end(
    walk: &Walk<'_>,
    client: &str,
    call: Call,
    transport: Transport,
    size: usize,
) -> Result<(), String> {
    walk.wires.passed().unwrap();
    let mut came = Contact::TimedOut;
    for _ in 0..TRIES {
        match walk.stage.peer(client).who(call.within(PATIENCE / 10), transport, size).unwrap() {
            Ok(identity) if identity.who == walk.backend => return Ok(()),
            Ok(identity) => return Err(format!("{} answered", identity.who)),
            Err(failed) => came = failed,
        }
    }
    Err(format!("{TRIES} questions of {size} bytes: {came}{}", told(&walk.wires.passed().unwrap())))
}

fn large(walk: &Walk<'_>) -> Result<(), String> {
    walk.wires.passed().unwrap();
    // At another address than datagrams, so that the client knows nothing of the way yet.
    let to = at(external_ips(walk.number)[walk.family], ECHO_PORT);
    let call = Call::to(to).from(at(walk.client(), 0)).within(PATIENCE);
    let connection = walk.stage.peer("outside").open(call).unwrap();
    let connection = connection.map_err(|contact| contact.to_string())?;
    match connection.say(LARGE).unwrap() {
        Contact::Made { .. } => {}
        failed => return Err(format!("{failed}{}", told(&walk.wires.passed().unwrap()))),
    }
    // Only a wire of hardware has packets that are sure to be of its own size.
    if walk.hook == Hook::Xdp && walk.grows_by_tcp() && !walk.was_told_too_big() {
        return Err("the client was not told that its packets are too big".to_owned());
    }
    Ok(())
}

fn closed(walk: &Walk<'_>) -> Result<(), String> {
    let outside = walk.stage.peer("outside");
    let inside = Call::to(at(cluster_ips(walk.number)[walk.family], CLOSED_PORT)).within(PATIENCE);
    for (peer, call) in [(outside, walk.call(CLOSED_PORT)), (walk.stage.peer("shop/c1"), inside)] {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Sctp] {
            match peer.who(call, transport, 1).unwrap() {
                Err(Contact::Refused) => {}
                Err(other) => return Err(format!("{transport:?}: {other}")),
                Ok(identity) => return Err(format!("{transport:?}: {} answered", identity.who)),
            }
        }
    }
    Ok(())
}

fn inside(walk: &Walk<'_>) -> Result<(), String> {
    let call = Call::to(at(cluster_ips(walk.number)[walk.family], PORT)).within(PATIENCE);
    for (client, transport, size) in [
        ("shop/c1", Transport::Tcp, LARGE),
        ("shop/c3", Transport::Tcp, LARGE),
        ("shop/c3", Transport::Udp, FRAGMENTED),
    ] {
        match walk.stage.peer(client).who(call, transport, size).unwrap() {
            Ok(identity) if identity.who == walk.backend => {}
            Ok(identity) => return Err(format!("{client}: {} answered", identity.who)),
            Err(contact) => return Err(format!("{client} by {transport:?}: {contact}")),
        }
    }
    in_the_end(walk, "shop/c3", call, Transport::Sctp, FRAGMENTED)
}
