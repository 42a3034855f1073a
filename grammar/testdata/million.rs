//! A policy with very many CIDRs, the same on every run.

use std::fmt::Write as _;

/// One CiliumNetworkPolicy: half of the CIDRs in a rule's `toCIDR`, half in another's `toCIDRSet`
/// where one in eight has one or two exceptions; a tenth is IPv6; all quoted.
pub(crate) fn policy(cidrs: usize) -> String {
    let mut numbers = Numbers(0x5eed);
    let mut text = String::with_capacity(cidrs * 27 + 400);
    text.push_str(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: feed\n  namespace: shop\n",
    );
    text.push_str("spec:\n  endpointSelector:\n    matchLabels:\n      app: proxy\n  egress:\n  - toCIDR:\n");
    for index in 0..cidrs / 2 {
        let _ = writeln!(text, "    - \"{}\"", numbers.block(index).0);
    }
    text.push_str("  - toCIDRSet:\n");
    for index in 0..cidrs - cidrs / 2 {
        let (block, inside) = numbers.block(index);
        let _ = writeln!(text, "    - cidr: \"{block}\"");
        if index % 8 == 0 {
            text.push_str("      except:\n");
            for inside in inside.iter().take(1 + index / 8 % 2) {
                let _ = writeln!(text, "      - \"{inside}\"");
            }
        }
    }
    text
}

/// A linear congruential generator: deterministic, and good enough to look like addresses.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }

    /// A block and two parts of it.
    fn block(&mut self, index: usize) -> (String, [String; 2]) {
        let random = self.next();
        if index % 10 == 3 {
            let (high, low) = (random >> 16, random & 0xffff);
            let net = format!("2001:db8:{high:x}:{low:x}::");
            return (format!("{net}/64"), [format!("{net}/96"), format!("{net}/112")]);
        }
        let [a, b, c, _] = random.to_be_bytes();
        let net = format!("{}.{b}.{c}.", a % 223 + 1);
        (format!("{net}0/24"), [format!("{net}16/28"), format!("{net}128/25")])
    }
}
