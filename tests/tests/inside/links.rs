//! Programs at the cgroup: they outlive the process, are replaced in one step, and leave others' alone.

use crate::ground::{Ground, PINS, PORTS, Way, cluster_ips, service, service_at};
use crate::server::{connected_udp, datagram, datagrams, tcp};
use aya::maps::{HashMap, Map, MapData};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use weir_runtime::balancer::{Balancer, BalancerOptions};
use weir_runtime::datapath::KernelBalancer;

fn by(ground: &Ground, to: SocketAddr) -> Option<String> {
    let call = ground.pod("client").inside(|| tcp(to)).unwrap();
    call.ok().map(|call| call.by)
}

/// A service of so many backends that the image needs a larger value than the first.
fn large() -> String {
    let address = |number: u16| {
        let v4 = Ipv4Addr::new(10, 200, (number >> 8) as u8, number as u8);
        [IpAddr::from(v4), Ipv6Addr::new(0xFD00, 0x200, 0, 0, 0, 0, 0, number).into()]
    };
    service_at("large", 9, PORTS, "n2", &(1..=1100).map(address).collect::<Vec<_>>())
}

#[test]
fn they_outlive_the_process_and_the_next_one_replaces_them() {
    let Some(mut ground) = Ground::lay() else { return };
    let to = Way::V4.of(cluster_ips(1), 80);
    ground.install(&service("web", 1, PORTS, "n1", &[ground.pod("one")]));
    assert_eq!(by(&ground, to).as_deref(), Some("one"));
    ground.balancer = None;
    assert_eq!(by(&ground, to).as_deref(), Some("one"));
    let before = links(&ground);
    ground.open();
    assert_eq!(by(&ground, to).as_deref(), Some("one"));
    assert_eq!(links(&ground), before);
    let grown = ground.install(&(service("web", 1, PORTS, "n1", &[ground.pod("two")]) + &large()));
    assert!(grown);
    assert_eq!(by(&ground, to).as_deref(), Some("two"));
    assert_eq!(links(&ground), before);
}

/// Names of everything pinned.
fn pinned(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(pinned(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn links(ground: &Ground) -> Vec<PathBuf> {
    let all = ground.at_node(|| pinned(Path::new(PINS)));
    let links: Vec<PathBuf> =
        all.into_iter().filter(|path| path.components().any(|part| part.as_os_str() == "sockets")).collect();
    assert_eq!(links.len(), 11);
    links
}

#[test]
fn two_stand_beside_each_other() {
    let Some(mut ground) = Ground::lay() else { return };
    ground.install(&service("web", 1, PORTS, "n1", &[ground.pod("one")]));
    let first = ground.balancer.take();
    ground.options.pin_root = format!("{PINS}-other").into();
    ground.open();
    ground.install(&service("web", 2, PORTS, "n1", &[ground.pod("two")]));
    assert_eq!(by(&ground, Way::V4.of(cluster_ips(1), 80)).as_deref(), Some("one"));
    assert_eq!(by(&ground, Way::V6.of(cluster_ips(2), 80)).as_deref(), Some("two"));
    drop(first);
}

#[test]
fn another_cgroup_has_them_and_the_first_no_more() {
    let Some(mut ground) = Ground::lay() else { return };
    let to = Way::V4.of(cluster_ips(1), 80);
    ground.install(&service("none", 1, PORTS, "n1", &[]));
    let refused = |ground: &Ground| {
        let told = ground.pod("client").inside(|| datagrams(to).unwrap().connect(to)).unwrap();
        told.is_err()
    };
    assert!(refused(&ground));
    let own = ground.options.cgroup.clone().unwrap();
    let other = own.with_extension("other");
    ground.at_node(|| fs::create_dir(&other).unwrap());
    ground.options.cgroup = Some(other.clone());
    ground.open();
    assert!(!refused(&ground));
    ground.options.cgroup = Some(own);
    ground.open();
    assert!(refused(&ground));
    ground.at_node(|| fs::remove_dir(&other).unwrap());
    // One that is not there is an error.
    let options = BalancerOptions {
        pin_root: format!("{PINS}-none").into(),
        cgroup: Some(other),
        ..ground.options.clone()
    };
    let set = ground.at_node(|| KernelBalancer::open(&options).unwrap().set_sockets());
    assert!(set.unwrap_err().to_string().contains("cannot open it"));
}

#[test]
fn a_connected_socket_leaves_nothing_behind() {
    let Some(mut ground) = Ground::lay() else { return };
    ground.install(&service("web", 1, PORTS, "n1", &[ground.pod("one")]));
    let known = || {
        ground.at_node(|| {
            let path = pinned(Path::new(PINS)).into_iter().find(|path| path.ends_with("socket_services"));
            let map = Map::LruHashMap(MapData::from_pin(path.unwrap()).unwrap());
            let map = HashMap::<_, [u8; 32], [u8; 24]>::try_from(map).unwrap();
            map.keys().count()
        })
    };
    for way in Way::ALL {
        let to = way.of(cluster_ips(1), 80);
        ground.pod("client").inside(|| (tcp(to).unwrap(), connected_udp(to).unwrap())).unwrap();
        assert_eq!(known(), 0, "{way:?}");
    }
    let to = Way::V4.of(cluster_ips(1), 80);
    let socket = ground.pod("client").inside(|| datagrams(to).unwrap()).unwrap();
    for _ in 0..3 {
        datagram(&socket, to).unwrap();
    }
    assert_eq!(known(), 1);
}
