//! What needs a clock inside the process: one verdict, aggregation, and compiling what is already parsed.
//!
//! Prints rows of the table of results, the least of several runs each. `cargo xtask bench` collects them.

use ipnet::IpNet;
use std::hint::black_box;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weir_abi::{Identity, Image};
use weir_benches::prefixes::Prefix;
use weir_benches::random::Random;
use weir_benches::workload::{Workload, disjoint, many_pods, million, thousand_rules};
use weir_compiler::classes::aggregate::aggregate;
use weir_compiler::cluster::Cluster;
use weir_compiler::compile::{Compiled, Input, Options, compile};
use weir_compiler::identity::IdentityLock;
use weir_compiler::ir::protocol;
use weir_compiler::translate::translate;
use weir_grammar::{Limits, Reading, read};

/// Runs of everything that takes milliseconds.
const RUNS: u32 = 11;
/// Runs of everything that takes seconds.
const FEW_RUNS: u32 = 5;

fn main() -> ExitCode {
    match rows() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("in_process: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn rows() -> Result<(), String> {
    let row = |workload: &str, figure: &str, other: &str, measured: String, goal: &str| {
        println!("| {workload} | {figure} | {other} | {measured} | {goal} |");
    };
    let spent = least(RUNS, || Ok(aggregated()))?;
    row(
        "1,000,000 CIDRs that do not overlap",
        "aggregation, parsed already",
        "iprange 1.0.4, reading and printing included: 420 ms (`baselines.md`)",
        format!("**{:.0} ms**", milliseconds(spent)),
        "≤ 60 ms",
    );
    let spent = least(RUNS, || Ok(compiled(&thousand_rules::WORKLOAD, None)?.0))?;
    row(
        "1,000 egress CIDR+port rules",
        "trees to image",
        "Cilium: 62 ms",
        format!("**{:.1} ms**", milliseconds(spent)),
        "≤ 2 ms",
    );
    let spent = least(FEW_RUNS, || Ok(compiled(&many_pods::WORKLOAD, Some("node-0"))?.0))?;
    row(
        "10,000 pods, 1,000 policies, one node of 250",
        "trees to image",
        "",
        format!("**{:.0} ms**", milliseconds(spent)),
        "≤ 100 ms",
    );
    let (class, verdict) = verdicts()?;
    row(
        "one verdict from the image in user space, 1M prefixes, queries inside prefixes",
        "address to verdict (of which address to class)",
        "kernel LPM trie: 1,450 ns (`kernel-facts.md`)",
        format!("**{verdict:.0} ns** ({class:.0} ns)"),
        "≤ 45 ns",
    );
    Ok(())
}

fn milliseconds(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e3
}

fn least(runs: u32, mut run: impl FnMut() -> Result<Duration, String>) -> Result<Duration, String> {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        best = best.min(run()?);
    }
    Ok(best)
}

fn aggregated() -> Duration {
    let list: Vec<IpNet> = disjoint::prefixes().into_iter().filter_map(|prefix| prefix.to_string().parse().ok()).collect();
    let begun = Instant::now();
    black_box(aggregate(black_box(list).into_iter()));
    begun.elapsed()
}

/// Reads a workload, then compiles it against the clock.
fn compiled(workload: &Workload, node: Option<&str>) -> Result<(Duration, Compiled), String> {
    let mut reading = Reading::default();
    let limits = Limits::default();
    read(&mut reading, "policies.yaml", (workload.policies)().into_bytes(), &limits);
    read(&mut reading, "cluster.yaml", (workload.cluster)().into_bytes(), &limits);
    let Reading { sources, mut objects, mut diagnostics } = reading;
    let begun = Instant::now();
    let cluster = Cluster::collect(&mut objects, &mut diagnostics);
    let set = translate(objects, &cluster, &mut diagnostics);
    let node = match node {
        Some(name) => Some(cluster.node_named(name).ok_or("the workload has no such node")?),
        None => None,
    };
    let input = Input { set: &set, cluster: &cluster, sources: &sources, addresses_of: &|_, _| Vec::new() };
    let options = Options { node, ..Options::default() };
    let compiled = compile(&input, &mut IdentityLock::default(), &options, &mut |_| ());
    let spent = begun.elapsed();
    Ok((spent, compiled.map_err(|error| error.to_string())?))
}

/// Nanoseconds of address to class, and of address to verdict.
fn verdicts() -> Result<(f64, f64), String> {
    let (_, compiled) = compiled(&million::WORKLOAD, None)?;
    let image = Image::open(compiled.bytes.as_bytes()).map_err(|error| error.to_string())?;
    let mut random = Random::new(7);
    let within = |prefix: Prefix, random: &mut Random| prefix.address_within(random);
    let mut addresses: Vec<IpAddr> =
        million::prefixes().into_iter().map(|prefix| within(prefix, &mut random)).collect();
    random.shuffle(&mut addresses);
    let subject = (Identity::FIRST_POD..Identity::FIRST_POD + 16)
        .filter_map(|number| image.endpoint(Identity(number)))
        .find(|endpoint| endpoint.egress.0 != 0)
        .ok_or("no endpoint of the workload has a policy")?;
    let per_address = |spent: Duration| spent.as_nanos() as f64 / addresses.len() as f64;
    let class = least(FEW_RUNS, || {
        let begun = Instant::now();
        for &address in &addresses {
            black_box(image.address_class(address));
        }
        Ok(begun.elapsed())
    })?;
    let verdict = least(FEW_RUNS, || {
        let begun = Instant::now();
        for &address in &addresses {
            let peer = image.address_class(address);
            let port = image.port_class(protocol::TCP, 443);
            black_box(image.judge(subject.egress, peer, port));
        }
        Ok(begun.elapsed())
    })?;
    Ok((per_address(class), per_address(verdict)))
}
