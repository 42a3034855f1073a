//! Writes workloads: `generate DIRECTORY [NAME]…` makes `DIRECTORY/NAME/{policies,cluster}.yaml`, and `changed.yaml` where there is something to compare,, all of them if none is named.
//!
//! Prints the directory of each. The same version of this program writes the same bytes everywhere.

use std::path::Path;
use std::process::ExitCode;
use weir_benches::workload::{ALL, disjoint};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((directory, names)) = arguments.split_first() else {
        eprintln!("usage: generate DIRECTORY [NAME]…");
        return ExitCode::from(2);
    };
    match generate(Path::new(directory), names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("generate: {failure}");
            ExitCode::from(2)
        }
    }
}

fn generate(directory: &Path, names: &[String]) -> Result<(), String> {
    if let Some(unknown) = names.iter().find(|name| ALL.iter().all(|workload| workload.name != **name)) {
        let known: Vec<&str> = ALL.iter().map(|workload| workload.name).collect();
        return Err(format!("there is no workload `{unknown}`; there are {}", known.join(", ")));
    }
    for workload in
        ALL.iter().filter(|workload| names.is_empty() || names.iter().any(|name| name == workload.name))
    {
        let target = directory.join(workload.name);
        let told = |error: std::io::Error| format!("{}: {error}", target.display());
        workload.write(&target).map_err(told)?;
        if workload.name == disjoint::WORKLOAD.name {
            std::fs::write(target.join("prefixes.txt"), disjoint::lines()).map_err(told)?;
        }
        println!("{}", target.display());
    }
    Ok(())
}
