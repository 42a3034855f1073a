//! The kernel's own firewalls with the same prefixes in a set: loaded by their tools, and asked by packets.
//!
//! All of it is in the network namespace of the run and goes with it. Not here: the packets.

use std::fmt::Write as _;
use std::time::{Duration, Instant};
use weir_benches::prefixes::Prefix;
use weir_benches::tool::run;

/// A firewall: how its set is filled, asked and taken away, as command lines.
pub(crate) struct Firewall {
    /// What loading is called.
    pub(crate) load: &'static str,
    /// What its set is called.
    pub(crate) set: &'static str,
    program: &'static str,
    text: fn(&[Prefix]) -> String,
    /// Drops every packet at once.
    floor: &'static [&'static str],
    /// Asks the filled set, counts what is in it and what is not, and drops both.
    rules: &'static [&'static str],
    counters: &'static str,
    clear: &'static [&'static str],
}

/// Those that are known.
pub(crate) const ALL: &[Firewall] = &[NFTABLES, IPSET];

const NFTABLES: Firewall = Firewall {
    load: "`nft -f` of an interval set",
    set: "nftables interval set",
    program: "nft -f -",
    text: nft_text,
    floor: &[
        "nft add table ip bench",
        "nft add chain ip bench first { type filter hook prerouting priority -300 ; }",
        "nft add rule ip bench first counter drop",
    ],
    rules: &[
        "nft add chain ip bench first { type filter hook prerouting priority -300 ; }",
        "nft add rule ip bench first ip saddr @s counter drop",
        "nft add rule ip bench first counter drop",
    ],
    counters: "nft list chain ip bench first",
    clear: &["nft delete table ip bench"],
};

const IPSET: Firewall = Firewall {
    load: "`ipset restore` of a hash:net",
    set: "ipset hash:net, asked by iptables",
    program: "ipset restore",
    text: ipset_text,
    floor: &["iptables -t raw -A PREROUTING -j DROP"],
    rules: &[
        "iptables -t raw -A PREROUTING -m set --match-set bench src -j DROP",
        "iptables -t raw -A PREROUTING -j DROP",
    ],
    counters: "iptables -t raw -L PREROUTING -v -x -n",
    clear: &["iptables -t raw -F PREROUTING", "ipset destroy bench"],
};

impl Firewall {
    /// Fills the set from nothing; how long the tool took.
    pub(crate) fn fill(&self, prefixes: &[Prefix]) -> Result<Duration, String> {
        let text = (self.text)(prefixes);
        let began = Instant::now();
        run(self.program, &text)?;
        Ok(began.elapsed())
    }

    /// From now on every packet is dropped at once.
    pub(crate) fn drop_all(&self) -> Result<(), String> {
        self.floor.iter().try_for_each(|command| run(command, "").map(drop))
    }

    /// From now on every packet is looked up and dropped.
    pub(crate) fn ask(&self) -> Result<(), String> {
        self.rules.iter().try_for_each(|command| run(command, "").map(drop))
    }

    /// Packets that were in the set, and those that were not.
    pub(crate) fn counted(&self) -> Result<Vec<u64>, String> {
        let told = run(self.counters, "")?;
        let of_nft = |line: &str| {
            let mut words = line.split_whitespace().skip_while(|word| *word != "packets");
            words.nth(1)?.parse().ok()
        };
        let of_iptables = |line: &str| line.split_whitespace().next()?.parse().ok();
        Ok(told.lines().filter_map(|line| of_nft(line).or_else(|| of_iptables(line))).collect())
    }

    /// Takes away what stands, as far as anything does.
    pub(crate) fn clear(&self) {
        for command in self.clear {
            _ = run(command, "");
        }
    }
}

fn nft_text(prefixes: &[Prefix]) -> String {
    let mut text = String::with_capacity(prefixes.len() * 20);
    text.push_str("table ip bench {\n set s {\n type ipv4_addr; flags interval;\n elements = {\n");
    for prefix in prefixes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{prefix},");
    }
    text.push_str("}\n }\n}\n");
    text
}

fn ipset_text(prefixes: &[Prefix]) -> String {
    let mut text = String::with_capacity(prefixes.len() * 32);
    let _ = writeln!(text, "create bench hash:net family inet maxelem 2000000");
    for prefix in prefixes {
        let _ = writeln!(text, "add bench {prefix}");
    }
    text
}
