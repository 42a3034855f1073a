//! The kernel's own firewalls with the same prefixes in a set: loaded by their tools, and asked by packets.
//!
//! All of it is in the network namespace of the run and goes with it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use weir_benches::prefixes::Prefix;

/// A firewall, and how its set is filled.
pub(crate) struct Firewall {
    /// What loading is called.
    pub(crate) load: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    text: fn(&[Prefix]) -> String,
    clear: &'static [&'static str],
}

/// Those that are known.
pub(crate) const ALL: &[Firewall] = &[NFTABLES, IPSET];

const NFTABLES: Firewall = Firewall {
    load: "`nft -f` of an interval set",
    program: "nft",
    arguments: &["-f", "-"],
    text: nft_text,
    clear: &["nft", "delete", "table", "ip", "bench"],
};

const IPSET: Firewall = Firewall {
    load: "`ipset restore` of a hash:net",
    program: "ipset",
    arguments: &["restore"],
    text: ipset_text,
    clear: &["ipset", "destroy", "bench"],
};

/// Fills the set from nothing and takes it away again; how long filling took.
pub(crate) fn load(firewall: &Firewall, prefixes: &[Prefix]) -> Result<Duration, String> {
    let took = fill(firewall, prefixes)?;
    run(firewall.clear)?;
    Ok(took)
}

fn fill(firewall: &Firewall, prefixes: &[Prefix]) -> Result<Duration, String> {
    let text = (firewall.text)(prefixes);
    let began = Instant::now();
    feed(firewall.program, firewall.arguments, &text)?;
    Ok(began.elapsed())
}

/// Runs a tool with text on its standard input.
fn feed(program: &str, arguments: &[&str], text: &str) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
    let status = child.wait().map_err(|error| format!("{program}: {error}"))?;
    match fed {
        Ok(()) if status.success() => Ok(()),
        Ok(()) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

fn run(command: &[&str]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    feed(program, arguments, "")
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
