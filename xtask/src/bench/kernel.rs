//! What the kernel spends on policy: the benchmark `kernel` of weir-benches, written down.
//!
//! It needs root and the tools of the kernel's firewalls; what is missing it says in its table.

use super::{keep, machine};
use crate::Failure;
use crate::checkout::{Checkout, line};
use std::process::Stdio;

/// Measures and keeps the table.
pub(super) fn run(checkout: &Checkout) -> Result<(), Failure> {
    let mut report = format!(
        "# The kernel, measured on {}\n\n{}\n",
        super::date(),
        machine(checkout, "cargo xtask bench kernel")
    );
    report.push_str(
        "Least / median of nine rounds in one process on CPU 0, in which everything that is compared has its turn; loading of sets \
         by other tools three times. Test runs of programs (`BPF_PROG_TEST_RUN`); every answer held against the interpreted image.\n\n",
    );
    let mut command = checkout.cargo(&["bench", "--quiet", "--package", "weir-benches", "--bench", "kernel"]);
    println!("$ {}", line(&command));
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("kernel: {error}"))?;
    if !output.status.success() {
        return Err(format!("the kernel's benchmark ended with {}", output.status));
    }
    report.push_str(&String::from_utf8_lossy(&output.stdout));
    keep(checkout, "-kernel", &report)
}
