//! Neighbours: ARP, and IPv6 neighbour discovery that stays on the pod's link. What would leave the link is policy's to judge, whatever
//! it looks like, and comes from the pod's own address.

use crate::wire::{DENIED, Ends, NEIGHBOUR, OWN_NODE, SPOOFED, Told, UNSUPPORTED, V6, Wire};
use std::net::{IpAddr, Ipv6Addr};
use weir_abi::state::Hook;
use weir_tests::kernel::packet::{Fragment, Ip, Transport, icmp, number, tagged};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

const UNSPECIFIED: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// The pod's and its router's addresses on the link.
const POD_ON_LINK: IpAddr = IpAddr::V6(Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1));
const ROUTER_ON_LINK: IpAddr = IpAddr::V6(Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 0xFF));
const ALL_NODES: IpAddr = IpAddr::V6(Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1));
const ALL_ROUTERS: IpAddr = IpAddr::V6(Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 2));
/// Solicited-node addresses of who has an address that ends in 1.
const WHO_HAS_1: IpAddr = IpAddr::V6(Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 1, 0xFF00, 1));
/// All nodes of a site, and of the world: routed where multicast is.
const SITE: IpAddr = IpAddr::V6(Ipv6Addr::new(0xFF05, 0, 0, 0, 0, 0, 0, 1));
const WORLD: IpAddr = IpAddr::V6(Ipv6Addr::new(0xFF0E, 0, 0, 0, 0, 0, 0, 1));

fn message(kind: u8) -> Transport {
    icmp(UNSPECIFIED, kind, [0; 4], &[0xFE; 16])
}

fn sent(wire: &Wire, hook: Hook, from: IpAddr, to: IpAddr, kind: u8) -> Told {
    let packet = Ip::new(from, to).hops(255).carrying(&message(kind));
    if hook == Hook::FromPod { wire.outward(&packet) } else { wire.inward(&packet) }
}

#[test]
fn a_pod_finds_its_neighbours() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, node, .. } = V6;
    for (from, to, kind) in [
        // Is anybody else me?
        (UNSPECIFIED, WHO_HAS_1, NEIGHBOUR_SOLICITATION),
        (UNSPECIFIED, ALL_ROUTERS, ROUTER_SOLICITATION),
        (POD_ON_LINK, ALL_ROUTERS, ROUTER_SOLICITATION),
        (pod, WHO_HAS_1, NEIGHBOUR_SOLICITATION),
        (POD_ON_LINK, WHO_HAS_1, NEIGHBOUR_SOLICITATION),
        (pod, ROUTER_ON_LINK, NEIGHBOUR_SOLICITATION),
        (pod, ROUTER_ON_LINK, NEIGHBOUR_ADVERTISEMENT),
        (POD_ON_LINK, ROUTER_ON_LINK, NEIGHBOUR_ADVERTISEMENT),
        (pod, ALL_NODES, NEIGHBOUR_ADVERTISEMENT),
        // The node asks and is asked under an address that is not of the link.
        (pod, node, NEIGHBOUR_SOLICITATION),
        (pod, node, NEIGHBOUR_ADVERTISEMENT),
        (POD_ON_LINK, node, NEIGHBOUR_ADVERTISEMENT),
    ] {
        assert_eq!(sent(&wire, Hook::FromPod, from, to, kind), NEIGHBOUR, "{kind} from {from} to {to}");
    }
}

#[test]
fn a_pod_is_found_by_its_neighbours() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, node, .. } = V6;
    for (from, to, kind) in [
        (ROUTER_ON_LINK, WHO_HAS_1, NEIGHBOUR_SOLICITATION),
        (node, WHO_HAS_1, NEIGHBOUR_SOLICITATION),
        (node, pod, NEIGHBOUR_SOLICITATION),
        (node, pod, NEIGHBOUR_ADVERTISEMENT),
        (ROUTER_ON_LINK, pod, NEIGHBOUR_ADVERTISEMENT),
        (ROUTER_ON_LINK, POD_ON_LINK, NEIGHBOUR_ADVERTISEMENT),
        (UNSPECIFIED, WHO_HAS_1, NEIGHBOUR_SOLICITATION),
        (ROUTER_ON_LINK, ALL_NODES, ROUTER_ADVERTISEMENT),
        (ROUTER_ON_LINK, pod, ROUTER_ADVERTISEMENT),
        (ROUTER_ON_LINK, pod, REDIRECT),
    ] {
        assert_eq!(sent(&wire, Hook::ToPod, from, to, kind), NEIGHBOUR, "{kind} from {from} to {to}");
    }
}

#[test]
fn arp_passes_both_ways_unless_it_is_tagged() {
    let Some(wire) = Wire::open() else { return };
    for hook in [Hook::FromPod, Hook::ToPod] {
        assert_eq!(wire.send_frame(hook, &tagged(&[0x08, 0x06], &[0; 28])), NEIGHBOUR);
        assert_eq!(wire.send_frame(hook, &tagged(&[0x81, 0, 0, 5, 0x08, 0x06], &[0; 28])), UNSUPPORTED);
    }
}

#[test]
fn discovery_that_would_leave_the_link_is_judged() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, client, database, stranger, outside, .. } = V6;
    for to in [client, database, stranger, outside, SITE, WORLD] {
        for kind in ROUTER_SOLICITATION..=REDIRECT {
            assert_eq!(sent(&wire, Hook::FromPod, pod, to, kind), DENIED, "{kind} to {to}");
            assert_eq!(sent(&wire, Hook::FromPod, POD_ON_LINK, to, kind), SPOOFED, "{kind} to {to}");
            assert_eq!(sent(&wire, Hook::FromPod, UNSPECIFIED, to, kind), SPOOFED, "{kind} to {to}");
        }
    }
}

#[test]
fn discovery_from_anothers_address_is_spoofed() {
    let Some(wire) = Wire::open() else { return };
    let Ends { client, node, outside, .. } = V6;
    for from in [client, node, outside, ALL_NODES] {
        for to in [WHO_HAS_1, ROUTER_ON_LINK, ALL_NODES, node] {
            for kind in ROUTER_SOLICITATION..=REDIRECT {
                assert_eq!(sent(&wire, Hook::FromPod, from, to, kind), SPOOFED, "{kind} from {from} to {to}");
            }
        }
    }
}

/// A pod is no router: it advertises none and redirects nobody.
#[test]
fn what_only_routers_say_is_judged_if_a_pod_says_it() {
    let Some(wire) = Wire::open() else { return };
    for kind in [ROUTER_ADVERTISEMENT, REDIRECT] {
        for to in [ALL_NODES, ROUTER_ON_LINK, V6.node] {
            assert_eq!(sent(&wire, Hook::FromPod, V6.pod, to, kind), DENIED, "{kind} to {to}");
            assert_eq!(sent(&wire, Hook::FromPod, POD_ON_LINK, to, kind), SPOOFED, "{kind} to {to}");
        }
    }
}

#[test]
fn what_came_from_farther_than_the_link_is_no_neighbours() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, node, .. } = V6;
    for kind in ROUTER_SOLICITATION..=REDIRECT {
        let packet = |from, to| Ip::new(from, to).hops(254).carrying(&message(kind));
        assert_eq!(wire.inward(&packet(ROUTER_ON_LINK, pod)), DENIED);
        assert_eq!(wire.outward(&packet(pod, ROUTER_ON_LINK)), DENIED);
        // Nor is what comes in pieces (RFC 6980), or another protocol's.
        let piece = Ip::new(ROUTER_ON_LINK, pod).hops(255).fragment(Fragment { id: 1, place: 0, more: true });
        assert_eq!(wire.inward(&piece.carrying(&message(kind))), DENIED);
        let other = Ip::new(ROUTER_ON_LINK, pod).hops(255).with(number::ICMP, &message(kind).bytes);
        assert_eq!(wire.inward(&other), DENIED);
    }
    // Other kinds of ICMPv6 are policy's at any distance.
    for kind in [132, 138, 143] {
        assert_eq!(sent(&wire, Hook::ToPod, node, pod, kind), OWN_NODE, "{kind}");
        assert_eq!(sent(&wire, Hook::FromPod, pod, ALL_NODES, kind), DENIED, "{kind}");
    }
}

/// Pods on a bridge are neighbours under addresses that are not of the link alone, and so may a node be under one that nobody listed.
#[test]
fn who_has_shown_itself_on_the_link_is_answered() {
    let Some(mut wire) = Wire::open() else { return };
    let Ends { pod, client, stranger, router, .. } = V6;
    for (to, kind) in
        [(WHO_HAS_1, NEIGHBOUR_SOLICITATION), (pod, NEIGHBOUR_SOLICITATION), (pod, NEIGHBOUR_ADVERTISEMENT)]
    {
        for neighbour in [stranger, router] {
            wire.traces.forget_all().unwrap();
            assert_eq!(sent(&wire, Hook::FromPod, pod, neighbour, NEIGHBOUR_ADVERTISEMENT), DENIED);
            assert_eq!(sent(&wire, Hook::ToPod, neighbour, to, kind), NEIGHBOUR);
            assert_eq!(sent(&wire, Hook::FromPod, pod, neighbour, NEIGHBOUR_ADVERTISEMENT), NEIGHBOUR);
            assert_eq!(sent(&wire, Hook::FromPod, pod, neighbour, NEIGHBOUR_SOLICITATION), NEIGHBOUR);
            // Nothing else is, nobody else, from nowhere else, and not for ever.
            for kind in [ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, REDIRECT, 128, 129] {
                assert_eq!(sent(&wire, Hook::FromPod, pod, neighbour, kind), DENIED, "{kind}");
            }
            let far = Ip::new(pod, neighbour).hops(254).carrying(&message(NEIGHBOUR_ADVERTISEMENT));
            assert_eq!(wire.outward(&far), DENIED);
            assert_eq!(sent(&wire, Hook::FromPod, pod, client, NEIGHBOUR_ADVERTISEMENT), DENIED);
            assert_eq!(sent(&wire, Hook::FromPod, POD_ON_LINK, neighbour, NEIGHBOUR_ADVERTISEMENT), SPOOFED);
            assert_eq!(sent(&wire, Hook::FromPod, UNSPECIFIED, neighbour, NEIGHBOUR_ADVERTISEMENT), SPOOFED);
            wire.traces.let_all_run_out().unwrap();
            assert_eq!(sent(&wire, Hook::FromPod, pod, neighbour, NEIGHBOUR_ADVERTISEMENT), DENIED);
        }
    }
}

#[test]
fn neighbours_that_are_always_answered_are_not_remembered() {
    let Some(wire) = Wire::open() else { return };
    let Ends { pod, node, stranger, .. } = V6;
    for from in [UNSPECIFIED, ROUTER_ON_LINK, node, ALL_NODES] {
        assert_eq!(sent(&wire, Hook::ToPod, from, WHO_HAS_1, NEIGHBOUR_SOLICITATION), NEIGHBOUR);
    }
    for kind in [ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, REDIRECT] {
        assert_eq!(sent(&wire, Hook::ToPod, stranger, pod, kind), NEIGHBOUR);
    }
    assert_eq!(wire.connections(), 0);
}
