//! The network that packets come from and go to: a namespace of this process's own, one device, and a next hop behind it that is known.
//!
//! Clients, backends and everything else are behind that hop, so what a balancer sends on leaves by the device that it came in at.

use weir_benches::alone;
use weir_benches::tool::run;

/// The device's name.
pub(crate) const DEVICE: &str = "wire";
/// Link-layer address of the next hop.
pub(crate) const HOP: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The node that balances.
pub(crate) const NODE: &str = "172.16.1.21";

/// Moves this process there; the device's index.
pub(crate) fn enter() -> Result<u32, String> {
    alone::in_a_network()?;
    let hop = HOP.map(|byte| format!("{byte:02x}")).join(":");
    for line in [
        &format!("ip link add {DEVICE} address 02:00:00:00:00:01 type veth peer name far"),
        &format!("ip address add {NODE}/24 dev {DEVICE}"),
        &format!("ip link set {DEVICE} up"),
        "ip link set far up",
        &format!("ip neighbour replace 172.16.1.254 lladdr {hop} dev {DEVICE} nud permanent"),
        "ip route add default via 172.16.1.254",
        "sysctl -q net.ipv4.conf.all.forwarding=1",
        "sysctl -q net.ipv4.conf.all.rp_filter=0",
        &format!("sysctl -q net.ipv4.conf.{DEVICE}.rp_filter=0"),
        // It would tell each client of a better way, as packets leave by the device that they came in at.
        "sysctl -q net.ipv4.conf.all.send_redirects=0",
        &format!("sysctl -q net.ipv4.conf.{DEVICE}.send_redirects=0"),
    ] {
        run(line, "")?;
    }
    // `/sys` shows the namespace that it was mounted in.
    let told = run(&format!("ip -o link show dev {DEVICE}"), "")?;
    let index = told.split(':').next().unwrap_or_default();
    index.parse().map_err(|_| format!("`{told}` tells no index"))
}
