//! `cargo xtask bench [PART… | --runs N]`: a measuring day, written down with its machine and its commands.
//!
//! Whole processes take turns with the parser they are compared with, so every ratio is of one run on one machine. What
//! needs a clock inside a process is measured by the divan benchmark `in_process` of weir-benches; what needs the kernel, traffic or many
//! services by a benchmark of that name, each of which is a part with a file of results of its own.
//!
//! Not here: the workloads and the measuring itself, which are benches/.

mod parts;
mod services;

use crate::Failure;
use crate::checkout::{Checkout, first_line, forget, line, run as run_command};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// A workload that `policyc compile` is measured on, by its name in weir-benches.
const COMPILED: &[&str] = &["million", "overlapping", "disjoint", "thousand-rules", "many-pods"];

/// Workloads that `policyc diff` is measured on.
const COMPARED: &[&str] = &["million", "many-pods"];

/// CIDRs of the two workloads whose image is told per prefix.
const CIDRS: f64 = 1_000_000.0;

/// How often whole processes run, unless it is said.
const RUNS: u32 = 5;

/// The node an image is compiled for where the cluster has many.
const NODE: &str = "node-0";

/// What one command cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    cpu_ms: f64,
    cpu_median_ms: f64,
    wall_ms: f64,
    peak_kib: f64,
}

/// The command.
pub(crate) fn run(checkout: &Checkout, arguments: &[String]) -> Result<(), Failure> {
    let runs = match arguments {
        [] => RUNS,
        [flag, number] if flag == "--runs" => {
            number.parse().map_err(|_| format!("`{number}` is no number"))?
        }
        named => return parts::named(named)?.into_iter().try_for_each(|part| part.run(checkout)),
    };
    build(checkout)?;
    let folder = generate(checkout)?;
    let mut commands = vec![vec![
        text(&checkout.release_binary("serde_yaml_strings")),
        text(&folder.join("million/policies.yaml")),
    ]];
    commands.extend(COMPILED.iter().map(|name| compile(checkout, &folder, name)));
    commands.extend(COMPARED.iter().map(|name| compare(checkout, &folder, name)));
    for name in COMPILED {
        forget(&folder.join(name).join("image.wimg"))?;
    }
    let costs = measure(checkout, runs, &commands)?;
    let mut report = format!("# Measured on {}\n\n{}\n", date(), machine(checkout, "cargo xtask bench"));
    let _ = writeln!(
        report,
        "Whole processes: CPU is user and system time, the least of {runs} runs taken in turns.\n"
    );
    report.push_str(&goals(&costs, &folder)?);
    report.push_str(&in_process(checkout)?);
    report.push_str(&raw(checkout, &commands, &costs));
    keep(checkout, "", &report)?;
    parts::ALL.iter().try_for_each(|part| part.run(checkout))
}

/// Builds the tool, and the tools that measure it.
fn build(checkout: &Checkout) -> Result<(), Failure> {
    let packages = ["--package", "policyc", "--package", "weir-benches"];
    run_command(checkout.cargo(&["build", "--release"]).args(packages))
}

/// Writes the workloads, and tells where they are.
fn generate(checkout: &Checkout) -> Result<PathBuf, Failure> {
    let folder = checkout.metadata().target_directory.join("workloads").into_std_path_buf();
    run_command(checkout.command(checkout.release_binary("generate")).arg(&folder))?;
    Ok(folder)
}

/// Writes the results of today and this machine.
fn keep(checkout: &Checkout, what: &str, report: &str) -> Result<(), Failure> {
    let name = format!("{}-{}{what}.md", date(), machine_name());
    let file = checkout.root().join("benches/results").join(name);
    fs::write(&file, report).map_err(|error| format!("{}: {error}", file.display()))?;
    println!("\n{report}\nwritten to {}", checkout.shown(&file));
    Ok(())
}

fn compile(checkout: &Checkout, folder: &Path, name: &str) -> Vec<String> {
    let of = |file: &str| text(&folder.join(name).join(file));
    let mut command = vec![text(&checkout.release_binary("policyc")), "compile".into()];
    command.extend(["-f".into(), of("policies.yaml"), "-c".into(), of("cluster.yaml")]);
    if name == "many-pods" {
        command.extend(["--node".into(), NODE.into()]);
    }
    command.extend(["--output".into(), of("image.wimg")]);
    command
}

fn compare(checkout: &Checkout, folder: &Path, name: &str) -> Vec<String> {
    let of = |file: &str| text(&folder.join(name).join(file));
    let mut command = vec![text(&checkout.release_binary("policyc")), "diff".into(), "--exit-zero".into()];
    command.extend(["--from".into(), of("policies.yaml"), "--to".into(), of("changed.yaml")]);
    command.extend(["-c".into(), of("cluster.yaml")]);
    command
}

/// Runs all commands in turns.
fn measure(checkout: &Checkout, runs: u32, commands: &[Vec<String>]) -> Result<Vec<Cost>, Failure> {
    let mut runner = checkout.command(checkout.release_binary("whole_process"));
    runner.args(["--runs", &runs.to_string()]);
    for command in commands {
        runner.arg("--").args(command);
    }
    println!("$ {}", line(&runner));
    let output =
        runner.stderr(Stdio::inherit()).output().map_err(|error| format!("whole_process: {error}"))?;
    let costs: Vec<Cost> = String::from_utf8_lossy(&output.stdout).lines().filter_map(cost).collect();
    if output.status.success() && costs.len() == commands.len() {
        Ok(costs)
    } else {
        Err(format!("the whole-process runner ended with {}", output.status))
    }
}

fn cost(line: &str) -> Option<Cost> {
    let numbers: Vec<f64> = line.split('\t').filter_map(|word| word.parse().ok()).collect();
    let [cpu_ms, cpu_median_ms, wall_ms, peak_kib] = numbers[..] else { return None };
    Some(Cost { cpu_ms, cpu_median_ms, wall_ms, peak_kib })
}

/// The rows that have a goal.
fn goals(costs: &[Cost], folder: &Path) -> Result<String, Failure> {
    let [parse, million, _, _, _, many_pods, million_diff, many_pods_diff] = costs else {
        return Err("a workload has no figure".into());
    };
    let image = |name: &str| {
        let file = folder.join(name).join("image.wimg");
        fs::metadata(&file)
            .map(|meta| meta.len() as f64)
            .map_err(|error| format!("{}: {error}", file.display()))
    };
    let mut table =
        String::from("| workload | figure | compared with | measured | goal |\n|---|---|---|---|---|\n");
    let mut row = |workload: &str, figure: &str, other: &str, measured: String, goal: &str| {
        let _ = writeln!(table, "| {workload} | {figure} | {other} | {measured} | {goal} |");
    };
    let ratio = million.cpu_ms / parse.cpu_ms;
    row(
        "one CNP with 1,000,000 CIDRs",
        "CPU of the whole process, YAML to image",
        &format!("serde_yaml, parsing into strings only: {:.0} ms = 1.0", parse.cpu_ms),
        format!("{:.0} ms = **{ratio:.2}**", million.cpu_ms),
        "≤ 0.6",
    );
    row(
        "one CNP with 1,000,000 CIDRs",
        "peak memory",
        &format!("{:.0} MB", megabytes(parse.peak_kib)),
        format!("**{:.0} MB**", megabytes(million.peak_kib)),
        "≤ 120 MB",
    );
    row(
        "its image",
        "bytes per prefix",
        "compressed trie: 21; ipset: 30–70",
        format!("**{:.1}**", image("million")? / CIDRS),
        "≤ 9",
    );
    row(
        "the same prefixes over 64 rules with a port each",
        "bytes per prefix",
        "",
        format!("**{:.1}**", image("overlapping")? / CIDRS),
        "≤ 12",
    );
    row(
        "1,000 egress CIDR+port rules",
        "image",
        "Cilium: 44,596 map entries",
        format!("**{:.1} KiB**", image("thousand-rules")? / 1024.0),
        "≤ 64 KiB",
    );
    row(
        "10,000 pods, 1,000 policies, one node of 250",
        "CPU of the whole process, parsing included",
        "",
        format!("{:.0} ms, image {:.0} KiB", many_pods.cpu_ms, image("many-pods")? / 1024.0),
        "",
    );
    row(
        "two lists of 1,000,000 CIDRs, 100 of them others",
        "exact difference, CPU of the whole process",
        "",
        format!("**{:.0} ms**", million_diff.cpu_ms),
        "≤ 2,000 ms",
    );
    row(
        "two sets of 1,000 policies for 10,000 pods, 21 of them others",
        "exact difference, CPU of the whole process",
        "",
        format!("**{:.0} ms**", many_pods_diff.cpu_ms),
        "≤ 1,000 ms",
    );
    Ok(table)
}

/// A row measured inside a process: divan's name, workload, figure and comparison, how a figure in milliseconds is told,
/// and the goal.
type Row = (&'static str, [&'static str; 3], fn(f64) -> String, &'static str);

/// What is measured inside a process.
const IN_PROCESS: &[Row] = &[
    (
        "aggregate_million",
        [
            "1,000,000 CIDRs that do not overlap",
            "aggregation, parsed already",
            "iprange 1.0.4, reading and printing included: 420 ms",
        ],
        |ms| format!("**{ms:.0} ms**"),
        "≤ 60 ms",
    ),
    (
        "compile_thousand_rules",
        ["1,000 egress CIDR+port rules", "trees to image", "Cilium: 62 ms"],
        |ms| format!("**{ms:.1} ms**"),
        "≤ 2 ms",
    ),
    (
        "compile_node_of_many",
        ["10,000 pods, 1,000 policies, one node of 250", "trees to image", ""],
        |ms| format!("**{ms:.0} ms**"),
        "≤ 100 ms",
    ),
    (
        "verdict_of_million_ipv4",
        [
            "one verdict from the image, 1M prefixes, IPv4 queries inside prefixes",
            "user space",
            "kernel LPM trie: 1,450 ns",
        ],
        |ms| format!("**{ms:.0} ns**"),
        "≤ 45 ns",
    ),
    (
        "verdict_of_million_mixed",
        ["the same, a tenth of the queries IPv6", "user space", ""],
        |ms| format!("**{ms:.0} ns**"),
        "≤ 45 ns",
    ),
    (
        "class_of_million_mixed",
        ["of that: address to class", "user space", ""],
        |ms| format!("{ms:.0} ns"),
        "",
    ),
    (
        "backends_of_million_packets",
        ["one packet to one of 10,000 services", "its backend, user space", ""],
        |ms| format!("{ms:.0} ns"),
        "",
    ),
];

/// The rows measured inside a process, the fastest sample of each.
fn in_process(checkout: &Checkout) -> Result<String, Failure> {
    let mut command =
        checkout.cargo(&["bench", "--quiet", "--package", "weir-benches", "--bench", "in_process"]);
    println!("$ {}", line(&command));
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("in_process: {error}"))?;
    if !output.status.success() {
        return Err(format!("in_process ended with {}", output.status));
    }
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{told}");
    let mut rows = String::new();
    for (name, [workload, figure, other], tell, goal) in IN_PROCESS {
        let measured =
            told.lines().find_map(|line| fastest(line, name)).ok_or(format!("no figure of {name}"))?;
        let _ = writeln!(rows, "| {workload} | {figure} | {other} | {} | {goal} |", tell(measured));
    }
    Ok(rows)
}

/// The first figure of divan's line for a benchmark, in milliseconds.
fn fastest(line: &str, name: &str) -> Option<f64> {
    let mut words = line.split_whitespace().skip_while(|word| *word != name).skip(1);
    let figure: f64 = words.next()?.parse().ok()?;
    let unit = match words.next()? {
        "s" => 1e3,
        "ms" => 1.0,
        "µs" => 1e-3,
        "ns" => 1e-6,
        _ => return None,
    };
    Some(figure * unit)
}

/// Every figure and the command it is of, as it was run.
fn raw(checkout: &Checkout, commands: &[Vec<String>], costs: &[Cost]) -> String {
    let mut table = String::from(
        "\n| command | CPU ms, least | median | wall ms, least | peak MB |\n|---|---|---|---|---|\n",
    );
    let target = checkout.metadata().target_directory.as_str();
    for (command, cost) in commands.iter().zip(costs) {
        let shown = command.join(" ").replace(target, "target");
        let _ = writeln!(
            table,
            "| `{shown}` | {:.1} | {:.1} | {:.1} | {:.1} |",
            cost.cpu_ms,
            cost.cpu_median_ms,
            cost.wall_ms,
            megabytes(cost.peak_kib)
        );
    }
    table
}

fn megabytes(kib: f64) -> f64 {
    kib * 1024.0 / 1e6
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What was measured on, without the machine's own name.
fn machine(checkout: &Checkout, command: &str) -> String {
    let told = |program: &str, arguments: &[&str]| {
        first_line(Command::new(program).args(arguments)).unwrap_or_else(|| "unknown".into())
    };
    let commit = first_line(checkout.command("git").args(["rev-parse", "--short", "HEAD"]));
    let mut list = String::new();
    for (what, value) in [
        ("CPU", format!("{} × {}", cores(), cpu())),
        ("kernel", told("uname", &["-sr"])),
        ("compiler", told("rustc", &["--version"])),
        ("commit", commit.unwrap_or_else(|| "unknown".into())),
        ("command", format!("`{command}`")),
        ("load before", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()),
    ] {
        let _ = writeln!(list, "* {what}: {value}");
    }
    list
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name));
    model.unwrap_or("unknown").trim().to_owned()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The part of a file name that tells machines apart.
fn machine_name() -> String {
    slug(&format!("{} {} cores", cpu(), cores()))
}

fn slug(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    let useful = |word: &&str| !word.is_empty() && !["R", "TM", "CPU", "Processor"].contains(word);
    words.filter(useful).map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// Today in UTC, as `2026-11-22`.
fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    civil(seconds / 86_400)
}

/// A day counted from 1970-01-01 as a date, by counting in eras of 400 years from a March.
fn civil(days: u64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::{civil, slug};

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), "1970-01-01");
        assert_eq!(civil(11_016), "2000-02-29");
        assert_eq!(civil(20_779), "2026-11-22");
    }

    #[test]
    fn machines_have_short_names() {
        assert_eq!(slug("Intel(R) Xeon(R) Processor @ 2.60GHz 2 cores"), "intel-xeon-2.60ghz-2-cores");
    }

    #[test]
    fn divans_lines_are_read() {
        let line =
            "├─ compile_thousand_rules  1.871 ms      │ 3.1 ms        │ 1.9 ms        │ 2 ms          │ 50";
        assert_eq!(super::fastest(line, "compile_thousand_rules"), Some(1.871));
        assert_eq!(super::fastest(line, "another"), None);
        assert_eq!(super::fastest("in_process    fastest  │ slowest", "in_process"), None);
    }
}
