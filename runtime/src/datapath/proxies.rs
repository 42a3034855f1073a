//! Where request proxies listen on this node.
//!
//! A connection that policy hands over (TPROXY) keeps its addresses and comes to the proxy's socket; where none listens it is dropped. What
//! else a proxy needs, and who must see to it, is told at [`Datapath::set_proxy_port`].
//!
//! Not here: a proxy; the policy routing that brings it packets.

use super::Datapath;
use std::mem::offset_of;
use weir_abi::RequestKind;
use weir_abi::state::Settings;

const PORTS: usize = offset_of!(Settings, proxy_ports);

impl Datapath {
    /// Says on which port of this node the proxy for requests of a kind listens; `None`: none does. Like all live state it outlives this
    /// process. Known connections go by it from their next packet on.
    ///
    /// The proxy listens on any address, or on loopback, of both families, with `IP_TRANSPARENT`; then the local
    /// address of a connection that it accepts is the one that the client asked for. The port must be the proxy's alone while it
    /// stands here: whoever listens there instead is handed the packets.
    ///
    /// Not done here, and by nobody yet, because it is the business of whoever runs a proxy: the node takes packets that are marked for
    /// one as its own, whatever their destination,
    ///
    /// ```text
    /// ip    rule add fwmark 0x4000000/0x4000000 lookup 2004    ip    route add local 0.0.0.0/0 dev lo table 2004
    /// ip -6 rule add fwmark 0x4000000/0x4000000 lookup 2004    ip -6 route add local ::/0      dev lo table 2004
    /// ```
    ///
    /// and, where requests to its pods are read,
    ///
    /// - `net.ipv4.ip_early_demux` is 0, for both families: a packet to a pod else meets the proxy's connection as it comes to the node,
    ///   before any program of ours, and what has met a socket is not forwarded;
    /// - `rp_filter` is 0 at pods' interfaces, and for all: what was on its way to a pod comes in again from there, with its client's address.
    ///   Loose filtering (2) is none at interfaces that have an IPv4 address, which those of pods need not have. Programs hold each pod to
    ///   its own addresses in any case.
    ///
    /// Without them packets are lost, and none passes unread.
    pub fn set_proxy_port(&mut self, kind: RequestKind, port: Option<u16>) {
        let mut word = self.settings.load(PORTS).to_ne_bytes();
        let (ports, _) = word.as_chunks_mut::<2>();
        if let Some(of_kind) = ports.get_mut(usize::from(kind as u8)) {
            *of_kind = port.unwrap_or(0).to_ne_bytes();
        }
        self.settings.store(PORTS, u64::from_ne_bytes(word));
    }
}
