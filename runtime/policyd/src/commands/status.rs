//! `policyd status`: what is in force and what is wrong, for people or programs.
//!
//! Problems come first, and are the exit code: 1 if there are any.

mod balancing;

use super::Outcome;
use crate::args::{Format, StatusArgs};
use crate::output::{pretty_json, print};
use anyhow::bail;
use serde::Serialize;
use std::fmt::Write as _;
use weir_project::visible::visible;
use weir_runtime::control::client::Client;
use weir_runtime::control::{Request, Response};
use weir_runtime::status::Status;
use weir_runtime::tally::RuleCount;

/// The status, and with `--rules` packets by rule.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<Vec<RuleCount>>,
}

/// The command.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&args.socket.socket)?;
    let Response::Status(status) = client.ask(&Request::Status)? else {
        bail!("policyd answers something else than what was asked");
    };
    let rules = if args.rules {
        let Response::Counters(rules) = client.ask(&Request::Counters)? else {
            bail!("policyd answers something else than what was asked");
        };
        Some(rules)
    } else {
        None
    };
    let outcome = if status.problems.is_empty() { Outcome::Fine } else { Outcome::Findings };
    let told = Told { status: *status, rules };
    match args.format {
        Format::Json => print(&pretty_json(&told)?)?,
        Format::Text => print(&in_words(&told))?,
    };
    Ok(outcome)
}

/// Everything, by lines of a word and what it is.
fn in_words(told: &Told) -> String {
    let Told { status, rules } = told;
    let mut text = String::new();
    let mut line = |word: &str, what: &str| {
        let what = visible(what);
        _ = writeln!(text, "{word:<12}{what}");
    };
    let (good, bad) = ("\x1b[32mok\x1b[0m", "\x1b[31mtrouble\x1b[0m");
    let up = duration(status.up_seconds);
    line("policyd", &format!("{} on {}, up {up}", status.version, status.node));
    line("image", &image(status));
    line("source", &source(status));
    let datapath = &status.datapath;
    let class = status.sizes.image_class >> 10;
    line(
        "datapath",
        &format!("Linux {}, attached by {}, images up to {class} KiB", datapath.kernel, datapath.attach),
    );
    line("connections", &connections(status));
    for size in status.sizes.maps.iter().filter(|size| size.entries > 0) {
        line("", &format!("{}: {} of {}", size.map, size.entries, size.capacity));
    }
    line("pods", &format!("{} enforced, {} not found", attached(status), status.unplaced.len()));
    text += &pods(status);
    text += &drops(status);
    text += &status.balancing.as_ref().map(balancing::in_words).unwrap_or_default();
    text += &by_rule(rules.as_deref().unwrap_or_default());
    let mut head = format!("{:<12}{}\n", "health", if status.problems.is_empty() { good } else { bad });
    for problem in &status.problems {
        _ = writeln!(head, "{:<12}\x1b[31m!\x1b[0m {}", "", visible(problem));
    }
    head + &text
}

fn attached(status: &Status) -> usize {
    status.endpoints.iter().filter(|endpoint| endpoint.attached).count()
}

fn image(status: &Status) -> String {
    let Some(image) = &status.image else { return "none".to_owned() };
    let mut told = image.checksum.clone();
    if image.bytes > 0 {
        let (policies, rules, kib) = (image.policies, image.rules, image.bytes.div_ceil(1024));
        _ = write!(told, ": policies {policies}, rules {rules}, {kib} KiB");
    }
    if let Some(age) = image.age_seconds {
        _ = write!(told, ", in force for {}", duration(age));
    }
    if image.is_restored {
        told += ", kept from the last run";
    }
    told
}

fn source(status: &Status) -> String {
    let source = &status.source;
    let mut told = source.name.clone();
    if let Some(read) = &source.read {
        _ = write!(told, ", read {read}");
    }
    if let Some(took) = source.took_milliseconds {
        _ = write!(told, " in {took} ms");
    }
    told += if source.is_good { ", good" } else { ", not in force" };
    told
}

fn connections(status: &Status) -> String {
    let conntrack = &status.conntrack;
    let forgotten = match conntrack.evicted {
        0 => String::new(),
        evicted => format!("; {evicted} forgotten for want of room"),
    };
    format!(
        "IPv4 {} of {}, IPv6 {} of {}{forgotten}",
        conntrack.entries_v4, conntrack.capacity_v4, conntrack.entries_v6, conntrack.capacity_v6
    )
}

fn pods(status: &Status) -> String {
    let width = status.endpoints.iter().map(|endpoint| endpoint.pod.len()).max().unwrap_or(0);
    let mut text = String::new();
    for endpoint in &status.endpoints {
        let mark = if endpoint.attached { "\x1b[32m+\x1b[0m" } else { "\x1b[31m-\x1b[0m" };
        let (pod, interface) = (visible(&endpoint.pod), visible(&endpoint.interface));
        let (identity, addresses) = (endpoint.identity, endpoint.addresses.join(" "));
        _ = writeln!(text, "{:<12}{mark} {pod:<width$}  {interface}  {addresses}  identity {identity}", "");
    }
    for pod in &status.unplaced {
        _ = writeln!(text, "{:<12}\x1b[31m?\x1b[0m {}", "", visible(pod));
    }
    text
}

fn drops(status: &Status) -> String {
    let mut text = String::new();
    for (place, drop) in status.drops.iter().enumerate() {
        let word = if place == 0 { "drops" } else { "" };
        let (packets, bytes) = (drop.packets, drop.bytes);
        _ = writeln!(text, "{word:<12}{} {}: packets {packets}, bytes {bytes}", drop.direction, drop.reason);
    }
    for (place, (name, count)) in status.counters.iter().filter(|(_, count)| *count > 0).enumerate() {
        let word = if place == 0 { "counted" } else { "" };
        _ = writeln!(text, "{word:<12}{name}: {count}");
    }
    text
}

fn by_rule(rules: &[RuleCount]) -> String {
    let mut text = String::new();
    for (place, count) in rules.iter().enumerate() {
        let word = if place == 0 { "rules" } else { "" };
        let (rule, packets) = (&count.rule, count.packets);
        let named = format!("{} {} {} {}:{}", rule.kind, rule.policy, rule.rule, rule.file, rule.line);
        _ = writeln!(text, "{word:<12}{packets:>10} packets  {}", visible(&named));
    }
    text
}

/// `4 s`, `3 m`, `2 h`, `9 d`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} m", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
