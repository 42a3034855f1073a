//! Where balancing stands: the node's addresses, its devices, and its pods' interfaces.
//!
//! Pure. An address of the node's object is the node's only if an interface has it: an address that a cloud translates is no source.
//! Without one it is the first address of the way out, else of a device. A device
//! that is named in the settings and is not there is told, and one whose packets have no Ethernet header; pods' interfaces and the loopback are
//! no devices. A machine without a cluster stands at every device that it has an address at: clients come in at one, and who answers them at another.

use crate::interfaces::{Interfaces, Link};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_grammar::tree::Node;

/// Where balancing is to stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// The source of what the node sends on.
    pub(super) v4: Option<Ipv4Addr>,
    /// The same.
    pub(super) v6: Option<Ipv6Addr>,
    /// Devices, by index.
    pub(super) devices: BTreeSet<u32>,
    /// Pods' interfaces; `None`: not known yet.
    pub(super) pods: Option<BTreeSet<u32>>,
    /// Devices that are wanted by name and are not there.
    pub(super) missing: Vec<String>,
    /// Those that are wanted and have packets without an Ethernet header, which no program reads.
    pub(super) bare: Vec<String>,
}

/// Finds them for a node, as the cluster tells of it, or for a machine that has none (`is_alone`). `named` are the devices of the settings; none:
/// those with an address of the node or a default route, and without a cluster those with any address.
pub(super) fn places(
    node: Option<&Node>,
    is_alone: bool,
    interfaces: &Interfaces,
    named: &BTreeSet<String>,
    pods: Option<&BTreeSet<u32>>,
) -> Places {
    let told: &[IpAddr] = node.map_or(&[], |node| &node.addresses);
    let is_pods = |index: &u32| pods.is_some_and(|pods| pods.contains(index));
    let is_wanted = |link: &Link| {
        if named.is_empty() {
            let is_any_of_alone =
                is_alone && !link.is_loopback && !link.is_bare && !link.addresses.is_empty();
            link.has_default_route
                || is_any_of_alone
                || link.addresses.iter().any(|address| told.contains(address))
        } else {
            named.contains(&link.name)
        }
    };
    let links = || interfaces.links.iter().filter(|(index, _)| !is_pods(index)).map(|(_, link)| link);
    let ways_out =
        links().filter(|link| link.has_default_route).chain(links().filter(|link| is_wanted(link)));
    let own = told.iter().filter(|address| interfaces.own.contains(address));
    let own = own.chain(ways_out.flat_map(|link| &link.addresses));
    let own: Vec<IpAddr> = own.map(IpAddr::to_canonical).collect();
    let v4 = own.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let v6 = own.iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    });
    let found = || interfaces.links.iter().filter(|(index, link)| is_wanted(link) && !is_pods(index));
    let devices = found().filter(|(_, link)| !link.is_bare).map(|(&index, _)| index).collect();
    let bare = found().filter(|(_, link)| link.is_bare).map(|(_, link)| link.name.clone()).collect();
    let missing = named.iter().filter(|name| interfaces.named(name).is_none()).cloned().collect();
    Places { v4, v6, devices, pods: pods.cloned(), missing, bare }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, addresses: &[&str], has_default_route: bool) -> Link {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Link { name: name.to_owned(), addresses, has_default_route, ..Link::default() }
    }

    fn interfaces() -> Interfaces {
        let links = [
            (1, link("lo", &[], false)),
            (2, link("eth0", &["10.1.0.1", "fd00:1::1"], false)),
            (3, link("wan0", &["198.51.100.9", "198.51.100.10"], true)),
            (4, link("br0", &["10.9.0.1"], false)),
            (5, link("veth-web", &[], false)),
        ];
        let own = links.iter().flat_map(|(_, link)| link.addresses.clone()).collect();
        Interfaces { links: links.into(), own }
    }

    fn of(node: &str, named: &[&str]) -> Places {
        let town = crate::town::Town::new();
        let named = named.iter().map(|&name| name.to_owned()).collect();
        let pods = [5].into();
        let cluster = town.snapshot().cluster;
        let node = cluster.node_named(node).and_then(|place| cluster.nodes.get(place));
        places(node, false, &interfaces(), &named, Some(&pods))
    }

    #[test]
    fn the_nodes_object_says_its_addresses_and_devices() {
        let found = of("n1", &[]);
        assert_eq!((found.v4, found.v6), ("10.1.0.1".parse().ok(), "fd00:1::1".parse().ok()));
        assert_eq!(found.devices, [2, 3].into());
        assert_eq!(found.pods, Some([5].into()));
    }

    #[test]
    fn who_has_no_address_that_is_here_has_that_of_the_way_out() {
        // 10.1.0.2 is n2's, and on no interface.
        for node in ["n2", "nobody"] {
            let found = of(node, &[]);
            assert_eq!((found.v4, found.v6), ("198.51.100.9".parse().ok(), None), "{node}");
            assert_eq!(found.devices, [3].into());
        }
    }

    #[test]
    fn a_device_whose_packets_have_no_ethernet_header_is_none_and_is_told() {
        let mut interfaces = interfaces();
        interfaces.links.insert(6, Link { is_bare: true, ..link("wg0", &["10.8.0.1"], true) });
        let found = places(None, false, &interfaces, &BTreeSet::new(), None);
        assert_eq!((found.devices, found.bare), ([3].into(), vec!["wg0".to_owned()]));
        let found = places(None, false, &interfaces, &["eth0", "wg0"].map(str::to_owned).into(), None);
        assert_eq!((found.devices, found.bare), ([2].into(), vec!["wg0".to_owned()]));
    }

    #[test]
    fn devices_that_are_named_are_those() {
        let found = of("n1", &["br0", "eth7", "veth-web"]);
        assert_eq!(found.devices, [4].into(), "a pod's interface is no device");
        let alone = of("nobody", &["br0"]);
        assert_eq!(alone.v4, "198.51.100.9".parse().ok(), "the way out goes first");
        assert_eq!(found.missing, ["eth7"]);
    }

    #[test]
    fn a_machine_without_a_cluster_stands_at_every_device_with_an_address() {
        let mut interfaces = interfaces();
        // An address of a service at the loopback is no way for a packet.
        let own = Link { is_loopback: true, ..link("lo", &["192.0.2.10"], false) };
        interfaces.links.insert(1, own);
        let alone = |named: &[&str]| {
            let named = named.iter().map(|&name| name.to_owned()).collect();
            places(None, true, &interfaces, &named, Some(&BTreeSet::new()))
        };
        assert_eq!(alone(&[]).devices, [2, 3, 4].into());
        assert_eq!(alone(&[]).v4, "198.51.100.9".parse().ok(), "the way out goes first");
        assert_eq!(alone(&["br0"]).devices, [4].into());
    }
}
