//! Parts of a measuring day that have a benchmark of weir-benches and a file of results of their own.
//!
//! Most need root, and some other people's tools; what is missing a benchmark says itself.

use super::{keep, machine, services};
use crate::checkout::{Checkout, line};
use crate::{Failure, setup};
use std::process::Stdio;

/// A part.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// What it is called, as is its benchmark.
    name: &'static str,
    title: &'static str,
    /// How it is measured, for who reads the results.
    how: &'static str,
    /// Makes sure of what it needs, and tells what is measured outside of the benchmark.
    begin: fn(&Checkout) -> Result<String, Failure>,
}

/// All of them, in the order of a day.
pub(super) const ALL: &[Part] = &[
    Part {
        name: "kernel",
        title: "The kernel",
        how: "Least / median of nine rounds in one process on CPU 0, in which everything that is compared has its turn; loading of sets \
         by other tools three times. Test runs of programs (`BPF_PROG_TEST_RUN`); every answer held against the interpreted image.",
        begin: |_| Ok(String::new()),
    },
    Part {
        name: "services",
        title: "Services",
        how: "Whole processes: CPU is user and system time, the least of five runs taken in turns. The rest in one process: least / median.",
        begin: services::measure,
    },
    Part {
        name: "balancer",
        title: "Balancing",
        how: "Least / median of nine rounds in one process on CPU 0, in which everything that is compared has its turn; through the stack in three namespaces, one after the other. \
         Test runs of programs at XDP, through a wrapper that takes from each packet what the program before made of it, writes the headers of the \
         next flow, in random order, and hands it on; the floor is that wrapper with a program that makes the room for a header and nothing else. \
         Packets are held against the interpreted image before they are timed, and counted after.",
        begin: |checkout| setup::firewall_tools(checkout).map(|()| String::new()),
    },
    Part {
        name: "traffic",
        title: "Traffic",
        how: "Two pods of one node, policy at both interfaces, 100,000 CIDRs under 1,000 rules for each; iperf3 for a second, then one connection \
         and many for half a second each. Forty rounds, in which Weir and no filter take turns, nftables in every fifth. Rates are medians, \
         the share is the geometric mean over rounds, with its standard error.",
        begin: |checkout| setup::traffic_tools(checkout).map(|()| String::new()),
    },
];

/// Those of these names.
pub(super) fn named(names: &[String]) -> Result<Vec<Part>, Failure> {
    let find = |name: &String| {
        let found = ALL.iter().find(|part| part.name == name).copied();
        found.ok_or_else(|| {
            let known: Vec<&str> = ALL.iter().map(|part| part.name).collect();
            format!("usage: cargo xtask bench [{} … | --runs N]", known.join(" | "))
        })
    };
    names.iter().map(find).collect()
}

impl Part {
    /// Measures it and keeps the table.
    pub(super) fn run(&self, checkout: &Checkout) -> Result<(), Failure> {
        let Part { name, title, how, begin } = self;
        let command = format!("cargo xtask bench {name}");
        let mut report =
            format!("# {title}, measured on {}\n\n{}\n{how}\n\n", super::date(), machine(checkout, &command));
        report.push_str(&begin(checkout)?);
        let mut command = checkout.cargo(&["bench", "--quiet", "--package", "weir-benches", "--bench", name]);
        println!("$ {}", line(&command));
        let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{name}: {error}"))?;
        if !output.status.success() {
            return Err(format!("the benchmark `{name}` ended with {}", output.status));
        }
        report.push_str(&String::from_utf8_lossy(&output.stdout));
        keep(checkout, &format!("-{name}"), &report)
    }
}
