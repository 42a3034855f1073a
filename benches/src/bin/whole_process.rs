//! What whole processes cost: CPU time and peak memory of commands, run in turns.
//!
//! ```text
//! whole_process [--runs N] -- COMMAND ARG… [-- COMMAND ARG…]…
//! ```
//!
//! Prints one line per command, in order: `cpu_ms_min cpu_ms_median wall_ms_min peak_rss_kib`, separated by tabs. CPU is user
//! and system time together: on a machine shared with others, wall time tells about the others. Commands take turns, so
//! that a slow minute of the machine meets all of them alike.
//!
//! The kernel tells a parent the sum over its children only, so each run has a parent of its own: this program again.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::env;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// What one run cost.
struct Cost {
    cpu_micros: i64,
    wall_micros: i64,
    peak_rss_kib: i64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("once") => once(&arguments[1..]),
        _ => all(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("whole_process: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Every command, as often as asked for.
fn all(arguments: &[String]) -> Result<(), String> {
    let mut groups = arguments.split(|argument| argument == "--");
    let runs = match groups.next() {
        Some([]) => 5,
        Some([flag, number]) if flag == "--runs" => {
            number.parse().map_err(|_| format!("`{number}` is no number"))?
        }
        _ => return Err("usage: whole_process [--runs N] -- COMMAND ARG… [-- COMMAND ARG…]…".into()),
    };
    let commands: Vec<&[String]> = groups.filter(|group| !group.is_empty()).collect();
    let mut costs: Vec<Vec<Cost>> = commands.iter().map(|_| Vec::new()).collect();
    for _ in 0..std::cmp::max(runs, 1_usize) {
        for (command, costs) in commands.iter().zip(&mut costs) {
            costs.push(in_a_parent_of_its_own(command)?);
        }
    }
    for costs in &costs {
        let sorted = |value: fn(&Cost) -> i64| {
            let mut values: Vec<i64> = costs.iter().map(value).collect();
            values.sort_unstable();
            values
        };
        let (cpu, wall, peak) = (
            sorted(|cost| cost.cpu_micros),
            sorted(|cost| cost.wall_micros),
            sorted(|cost| cost.peak_rss_kib),
        );
        let milliseconds = |micros: i64| micros as f64 / 1000.0;
        println!(
            "{:.1}\t{:.1}\t{:.1}\t{}",
            milliseconds(cpu[0]),
            milliseconds(cpu[cpu.len() / 2]),
            milliseconds(wall[0]),
            peak[peak.len() - 1]
        );
    }
    Ok(())
}

fn in_a_parent_of_its_own(command: &[String]) -> Result<Cost, String> {
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(own)
        .arg("once")
        .args(command)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<i64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [cpu_micros, wall_micros, peak_rss_kib] if output.status.success() => {
            Ok(Cost { cpu_micros, wall_micros, peak_rss_kib })
        }
        _ => Err(format!("`{}` failed", command.join(" "))),
    }
}

/// One run; prints its cost as three numbers.
fn once(command: &[String]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let start = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("{program}: {error}"))?;
    let wall = start.elapsed().as_micros();
    if !status.success() {
        return Err(format!("`{}`: {status}", command.join(" ")));
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let cpu = usage.user_time() + usage.system_time();
    println!("{} {wall} {}", cpu.num_microseconds(), usage.max_rss());
    Ok(())
}
