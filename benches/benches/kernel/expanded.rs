//! The tries that Cilium's datapath would be filled with for the same rules.

use crate::bench_programs::BenchPrograms;
use aya::maps::lpm_trie::{Key, LpmTrie};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use weir_abi::Identity;
use weir_benches::prefixes::Prefix;
use weir_benches::workload::dealt::Dealt;

/// Identities of CIDRs begin here, one for each group.
const FIRST_LOCAL: u32 = 1 << 24;
const FAMILY_V4: u8 = 1;
/// Bits of a key before the address.
const BEFORE_ADDRESS: u32 = 32;
const EGRESS: u8 = 1;
const TCP: u8 = 6;

type PolicyKey = Key<[u8; 8]>;

/// The key and value of an address's identity.
pub(crate) fn ipcache_entry(prefix: Prefix, identity: u32) -> (Key<[u8; 20]>, [u8; 24]) {
    let mut data = [0; 20];
    data[3] = FAMILY_V4;
    if let IpAddr::V4(address) = prefix.address {
        data[4..8].copy_from_slice(&address.octets());
    }
    let mut value = [0; 24];
    value[..4].copy_from_slice(&identity.to_ne_bytes());
    (Key::new(BEFORE_ADDRESS + u32::from(prefix.length), data), value)
}

/// The key of an identity's port, or of everybody's with identity 0.
pub(crate) fn policy_key(identity: u32, port: u32) -> PolicyKey {
    let mut data = [0; 8];
    data[..4].copy_from_slice(&identity.to_ne_bytes());
    data[4] = EGRESS;
    data[5] = TCP;
    data[6..].copy_from_slice(&u16::try_from(port).unwrap_or(u16::MAX).to_be_bytes());
    Key::new(64, data)
}

/// Every entry of the policy: all of them allow.
pub(crate) fn policy_keys(dealt: &Dealt) -> Vec<PolicyKey> {
    let of_groups = (0..dealt.groups())
        .flat_map(|group| dealt.ports(group).map(move |port| policy_key(FIRST_LOCAL + group, port)));
    of_groups.chain(dealt.ports_for_all().map(|port| policy_key(0, port))).collect()
}

/// Fills both tries, one entry after the other; how long the prefixes took.
pub(crate) fn fill(
    programs: &mut BenchPrograms,
    dealt: &Dealt,
    cluster: &[(Ipv4Addr, Identity)],
) -> Duration {
    let entries: Vec<_> =
        dealt.prefixes().map(|(prefix, group)| ipcache_entry(prefix, FIRST_LOCAL + group)).collect();
    let mut ipcache: LpmTrie<_, [u8; 20], [u8; 24]> =
        LpmTrie::try_from(programs.ebpf.map_mut("ipcache").unwrap()).unwrap();
    let began = Instant::now();
    for (key, value) in &entries {
        ipcache.insert(key, value, 0).unwrap();
    }
    let took = began.elapsed();
    for (address, identity) in cluster {
        let prefix = Prefix { address: (*address).into(), length: 32 };
        let (key, value) = ipcache_entry(prefix, identity.0);
        ipcache.insert(&key, value, 0).unwrap();
    }
    let mut policy: LpmTrie<_, [u8; 8], [u8; 12]> =
        LpmTrie::try_from(programs.ebpf.map_mut("policy").unwrap()).unwrap();
    for key in policy_keys(dealt) {
        policy.insert(&key, [0; 12], 0).unwrap();
    }
    took
}
