//! What policy costs traffic between pods: the benchmark `traffic` of weir-benches, written down.
//!
//! It needs root, iperf3 and nft.

use super::{keep, machine};
use crate::checkout::{Checkout, line};
use crate::{Failure, setup};
use std::process::Stdio;

/// Measures and keeps the table.
pub(super) fn run(checkout: &Checkout) -> Result<(), Failure> {
    setup::traffic_tools(checkout)?;
    let mut report = format!(
        "# Traffic, measured on {}\n\n{}\n",
        super::date(),
        machine(checkout, "cargo xtask bench traffic")
    );
    report.push_str(
        "Two pods of one node, policy at both interfaces, 100,000 CIDRs under 1,000 rules for each; iperf3 for a second, then one connection \
         and many for half a second each. Forty rounds, in which Weir and no filter take turns, nftables in every fifth. Rates are medians, \
         the share is the geometric mean over rounds, with its standard error.\n\n",
    );
    let mut command =
        checkout.cargo(&["bench", "--quiet", "--package", "weir-benches", "--bench", "traffic"]);
    println!("$ {}", line(&command));
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("traffic: {error}"))?;
    if !output.status.success() {
        return Err(format!("the benchmark of traffic ended with {}", output.status));
    }
    report.push_str(&String::from_utf8_lossy(&output.stdout));
    keep(checkout, "-traffic", &report)
}
