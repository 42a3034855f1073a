//! Three small worlds and their images: one pod, one peer, addresses outside. What one lets pass another denies, so that no answer
//! can come from the wrong one.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;
use weir_abi::{Identity, Image};
use weir_compiler::image::write::ImageBytes;
use weir_tests::world::World;

/// The pod that policy is about.
pub(crate) const POD: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 99, 0, 1), Ipv6Addr::new(0xFD99, 0, 0, 0, 0, 0, 0, 1));
/// Another pod.
pub(crate) const PEER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 99, 0, 2), Ipv6Addr::new(0xFD99, 0, 0, 0, 0, 0, 0, 2));
/// An address outside, at the other end of the wire.
pub(crate) const OUTSIDE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 99, 0, 254), Ipv6Addr::new(0xFD99, 0, 0, 0, 0, 0, 0, 0xFE));
/// Protocols and ports that the images tell apart, and some that none names.
pub(crate) const PORTS: [(u8, u16); 6] =
    [(17, OPEN[0]), (17, OPEN[1]), (17, OPEN[2]), (6, OPEN[0]), (6, 5432), (132, 5432)];
/// The ports that are open to addresses outside, one for each image.
pub(crate) const OPEN: [u16; 3] = [8001, 8002, 8003];

/// Addresses of the peer, of an address outside that rules name, and of one that none does.
pub(crate) fn peers() -> [IpAddr; 6] {
    [
        PEER.0.into(),
        PEER.1.into(),
        OUTSIDE.0.into(),
        OUTSIDE.1.into(),
        Ipv4Addr::new(203, 0, 113, 7).into(),
        Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 7).into(),
    ]
}

/// An image, and what of it a test must know.
#[derive(Clone)]
pub(crate) struct SmallImage {
    bytes: ImageBytes,
    /// The identity of [`POD`].
    pub(crate) pod: Identity,
    /// The identity of [`PEER`].
    pub(crate) peer: Identity,
    /// The UDP port that is open to [`OUTSIDE`].
    pub(crate) open: u16,
}

impl SmallImage {
    pub(crate) fn first() -> SmallImage {
        SmallImage::new(OPEN[0], 0)
    }

    pub(crate) fn second() -> SmallImage {
        SmallImage::new(OPEN[1], 0)
    }

    /// Larger than the smallest size class.
    pub(crate) fn large() -> SmallImage {
        // Compiled once: on an emulated machine that takes seconds.
        static LARGE: LazyLock<SmallImage> = LazyLock::new(|| SmallImage::new(OPEN[2], 12_000));
        LARGE.clone()
    }

    fn new(open: u16, prefixes: u32) -> SmallImage {
        let world = World::read(vec![("loader.yaml".to_owned(), manifests(open, prefixes).into_bytes())]);
        assert_eq!(world.errors(), Vec::<String>::new());
        let bytes = world.image().unwrap().clone();
        let image = Image::open(bytes.as_bytes()).unwrap();
        let identity = |label: &str| {
            let mut found = image.identities().filter(|entry| entry.labels.contains(label));
            found.next().unwrap().identity
        };
        SmallImage { pod: identity("app=web"), peer: identity("app=db"), open, bytes }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }
}

/// Besides the open port, the pod and its peer talk on one that depends on the image too, and so many prefixes of each family are
/// named by a rule of their own.
fn manifests(open: u16, prefixes: u32) -> String {
    let mut text = String::from("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    for (name, (v4, v6)) in [("web", POD), ("db", PEER)] {
        _ = write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\n\
             spec: {{nodeName: n1}}\nstatus: {{phase: Running, podIP: {v4}, podIPs: [{{ip: {v4}}}, {{ip: \"{v6}\"}}]}}\n",
        );
    }
    let outside = format!("[{}/32, \"{}/128\"]", OUTSIDE.0, OUTSIDE.1);
    let ports = |protocol: &str, port: u16| {
        format!("    toPorts: [{{ports: [{{port: \"{port}\", protocol: {protocol}}}]}}]\n")
    };
    _ = write!(
        text,
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n1}}\n\
         status: {{addresses: [{{type: InternalIP, address: 192.168.0.1}}]}}\n\
         ---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: web, namespace: shop}}\n\
         spec:\n  endpointSelector: {{matchLabels: {{app: web}}}}\n"
    );
    for (section, peer) in [("egress", "to"), ("ingress", "from")] {
        _ = write!(text, "  {section}:\n  - {peer}CIDR: {outside}\n{}", ports("UDP", open));
        let db = "[{matchLabels: {app: db}}]";
        _ = write!(
            text,
            "  - {peer}Endpoints: {db}\n{}",
            ports("TCP", if prefixes == 0 { 5432 } else { open })
        );
        _ = write!(text, "  - {peer}Endpoints: {db}\n{}", ports("UDP", open));
    }
    if prefixes > 0 {
        // In one more element of ingress, which is the last section.
        text.push_str("  - fromCIDR:\n");
        for number in 0..prefixes {
            let v4 = Ipv4Addr::from(0x2000_0000 + number * 512);
            let v6 = Ipv6Addr::from(0x2001_0DB8u128 << 96 | 1 << 95 | u128::from(number) << 81);
            _ = write!(text, "    - {v4}/24\n    - {v6}/48\n");
        }
    }
    text
}
