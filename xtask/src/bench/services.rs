//! The whole tool on clusters of many services: manifests read, compiled, both images written.

use super::{NODE, RUNS, build, generate, measure as run_in_turns, megabytes, raw, text};
use crate::Failure;
use crate::checkout::Checkout;
use std::fmt::Write;

/// Workloads, by their names in weir-benches, and what they are.
const COMPILED: [(&str, &str); 3] = [
    ("many-services", "10,000 services × 10 backends"),
    ("large-services", "2,000 services × 50 backends"),
    ("many-ports", "100 services × 500 ports, 10 backends"),
];

/// The table.
pub(super) fn measure(checkout: &Checkout) -> Result<String, Failure> {
    build(checkout)?;
    let folder = generate(checkout)?;
    let commands = COMPILED.map(|(name, _)| {
        let of = |file: &str| text(&folder.join(name).join(file));
        let policyc = text(&checkout.release_binary("policyc"));
        let flags = ["compile", "-f", &of("policies.yaml"), "-c", &of("cluster.yaml"), "--node", NODE]
            .map(str::to_owned);
        let files = ["--output", &of("image.wimg"), "--services", &of("services.wimg")].map(str::to_owned);
        [policyc].into_iter().chain(flags).chain(files).collect()
    });
    let costs = run_in_turns(checkout, RUNS, &commands)?;
    let mut table = String::from("| workload | wall | CPU | peak memory |\n|---|---|---|---|\n");
    for ((_, what), cost) in COMPILED.iter().zip(&costs) {
        let _ = writeln!(
            table,
            "| {what}, YAML to image | {:.0} ms | **{:.0} ms** | {:.0} MB |",
            cost.wall_ms,
            cost.cpu_ms,
            megabytes(cost.peak_kib)
        );
    }
    table.push_str(&raw(checkout, &commands, &costs));
    table.push('\n');
    Ok(table)
}
