//! One policy decision: address to class, protocol and port to class, the verdict with its rule.
//!
//! Beside it, on the same addresses, the decision by tries as Cilium makes it. Both tell whether the connection passes, and must tell
//! what the interpreted image does. A run decides eight of a batch one after the other, so what is told is how many decisions a CPU makes in a
//! time, with as many under way at once as it finds; the first one after a pause takes longer on both sides.

use crate::bench_programs::{BATCH, BATCHES, BenchPrograms, Costs};
use crate::expanded;
use crate::laboratory::{Bed, Laboratory};
use std::net::Ipv4Addr;
use weir_abi::{Action, Identity, Image, Outcome};
use weir_benches::compiled::{image_of, parsed, subject};
use weir_benches::figures::Row;
use weir_benches::tiny_cluster;
use weir_benches::workload::dealt::{Dealt, Query};

/// Addresses of the cluster that both sides know besides the prefixes.
const CLUSTER_ADDRESSES: u32 = 10_000;
/// Batches of a working set that stays in the nearest caches.
const HOT: usize = 8;
const TCP: u8 = 6;

/// Sizes: prefixes, rules, and the goal.
const SIZES: &[(usize, u32, &str)] = &[
    (100_000, 1000, "≥ 20 × faster"),
    (100_000, 16_384, "no slower than with 1,000 rules"),
    (1_000_000, 1000, "≥ 30 × faster"),
    (1_000_000, 16_384, "no slower than with 1,000 rules"),
];

/// Every size.
pub(crate) fn measure(laboratory: &Laboratory, tell: &mut dyn FnMut(Row)) {
    for &(prefixes, rules, goal) in SIZES {
        rows(laboratory, prefixes, rules, goal).into_iter().for_each(&mut *tell);
    }
}

fn rows(laboratory: &Laboratory, prefixes: usize, rules: u32, goal: &'static str) -> Vec<Row> {
    let dealt = Dealt::new(prefixes, rules);
    let (compiled, _) = image_of(parsed(dealt.policies(), tiny_cluster::yaml()), None);
    let image = Image::open(compiled.bytes.as_bytes()).unwrap();
    let (pod, endpoint) = subject(&image).unwrap();
    let queries = dealt.queries(BATCH * BATCHES);
    let expected: Vec<Outcome> = queries
        .iter()
        .map(|query| {
            let class = image.address_class(query.address.into());
            image.judge(endpoint.egress, class, image.port_class(TCP, query.port))
        })
        .collect();
    let mut bed = laboratory.bed().unwrap();
    let installed = bed.datapath.install_image(compiled.bytes.as_bytes(), &[]).unwrap();
    let cluster = cluster(&mut bed, pod);
    let told = |batches| told(&bed, installed.class, batches, &dealt, &cluster, (pod, &queries, &expected));
    let many = told(BATCHES);
    let hot = told(HOT);
    let what = format!("one decision, {} prefixes, {} rules", grouped(prefixes), grouped(rules as usize));
    let allowed = expected.iter().filter(|outcome| outcome.action == Action::Allow).count();
    let row = |figure: &str, compared: String, measured: String, goal: &'static str| Row {
        workload: what.clone(),
        figure: figure.to_owned(),
        compared,
        measured,
        goal: goal.into(),
    };
    let figure = format!(
        "ns, {} random queries, {:.0} % allowed, image {:.1} MB",
        grouped(queries.len()),
        100.0 * allowed as f64 / queries.len() as f64,
        installed.bytes as f64 / 1e6,
    );
    let tries = |costs: &Costs| format!("ipcache and policy in LPM tries: {}", costs.of("lpm_decision"));
    let measured = |costs: &Costs| {
        let weir = costs.of("weir_decision");
        format!("{weir}, **{} ×**", weir.times(costs.of("lpm_decision")))
    };
    let part = |name: &str| many.of(name).to_string();
    vec![
        row(&figure, tries(&many), measured(&many), goal),
        row(
            "of that: address to class",
            format!("ipcache alone: {}", part("lpm_identity")),
            part("weir_class"),
            "",
        ),
        row("of that: whose address it is", String::new(), part("weir_address"), ""),
        row("64 hot queries", tries(&hot), measured(&hot), ""),
        row("floors, ns per run", String::new(), many.floors(), ""),
    ]
}

/// Both sides' costs over so many batches, their answers held against what is expected.
fn told(
    bed: &Bed,
    class: usize,
    batches: usize,
    dealt: &Dealt,
    cluster: &[(Ipv4Addr, Identity)],
    (pod, queries, expected): (Identity, &[Query], &[Outcome]),
) -> Costs {
    let room = dealt.prefixes().count() + cluster.len();
    let mut programs = BenchPrograms::load(bed, class, batches, room);
    programs.ask(pod, queries);
    expanded::fill(&mut programs, dealt, cluster);
    let weir = programs.answers("weir_decision");
    let tries = programs.answers("lpm_decision");
    for (((query, outcome), weir), tries) in queries.iter().zip(expected).zip(weir).zip(tries) {
        let [action, reason, _, _, rule @ ..] = weir.to_le_bytes();
        let rule = Some(u32::from_le_bytes(rule)).filter(|rule| *rule != u32::MAX);
        let told = (action, reason, rule);
        assert_eq!(told, (outcome.action as u8, outcome.reason as u8, outcome.rule), "{query:?}");
        assert_eq!(tries == 1, outcome.action == Action::Allow, "by tries: {query:?}");
    }
    programs.in_turns(&["weir_decision", "weir_class", "weir_address", "lpm_decision", "lpm_identity"])
}

/// Addresses of the cluster, told to the datapath.
fn cluster(bed: &mut Bed, pod: Identity) -> Vec<(Ipv4Addr, Identity)> {
    let first = u32::from(Ipv4Addr::new(10, 1, 0, 1));
    let addresses: Vec<(Ipv4Addr, Identity)> =
        (first..first + CLUSTER_ADDRESSES).map(|address| (address.into(), pod)).collect();
    for (address, identity) in &addresses {
        bed.datapath.set_address((*address).into(), *identity).unwrap();
    }
    addresses
}

/// A number with commas.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let rest = rest.as_bytes().chunks(3).map(|three| String::from_utf8_lossy(three).into_owned());
    let parts: Vec<String> =
        Some(head.to_owned()).filter(|head| !head.is_empty()).into_iter().chain(rest).collect();
    parts.join(",")
}
