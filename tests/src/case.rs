//! Cases: a folder with policies, a cluster, flows, and the verdict that each flow must get.
//!
//! ```text
//! <case>/policies.yaml   what is in force
//! <case>/cluster.yaml    the cluster; left out: that of the nearest folder above
//! <case>/fqdn-lock.json  names of addresses, if any
//! <case>/flows.jsonl     flows with `expect` (or `accept`, all that is right) and `why`
//! ```

use crate::engines::MakeEngine;
use crate::world::World;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use weir_compiler::flow::{Flow, VerdictLine, WrittenRules, judge};

/// A case, read.
#[derive(Debug)]
pub struct Case {
    /// Its folder's name, below the folder that was searched.
    pub name: String,
    /// Its policies and cluster.
    pub world: World,
    /// Its flows.
    pub flows: Vec<Flow>,
}

/// The folders with flows below `root`, sorted.
pub fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        if folder.join("flows.jsonl").exists() {
            found.push(folder);
        } else if let Ok(entries) = std::fs::read_dir(&folder) {
            open.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
    }
    found.sort();
    found
}

impl Case {
    /// Reads the case in `folder`, which lies below `root`.
    ///
    /// # Errors
    /// Files that cannot be read, and everything that is wrong with their text.
    pub fn load(root: &Path, folder: &Path) -> Result<Case, String> {
        let name = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
        let above = folder.ancestors().take_while(|above| above.starts_with(root));
        let cluster = above.map(|above| above.join("cluster.yaml")).find(|path| path.exists());
        let policies = folder.join("policies.yaml");
        let files: Vec<&Path> = std::iter::once(policies.as_path()).chain(cluster.as_deref()).collect();
        let mut world = World::load(&files)?;
        if let Ok(text) = std::fs::read_to_string(folder.join("fqdn-lock.json")) {
            world.read_lock("fqdn-lock.json", &text);
        }
        let text = std::fs::read_to_string(folder.join("flows.jsonl"))
            .map_err(|error| format!("{name}: {error}"))?;
        let flows = world.read_flows(&format!("{name}/flows.jsonl"), &text);
        match world.errors().as_slice() {
            [] => Ok(Case { name, world, flows }),
            errors => Err(format!("{name}: {}", errors.join("\n"))),
        }
    }

    /// The flows that an engine gets wrong: what was expected, what came instead, and why.
    pub fn failures(&self, make: MakeEngine) -> Vec<String> {
        let engine = match make(&self.world) {
            Ok(engine) => engine,
            Err(error) => return vec![format!("{}: {error}", self.name)],
        };
        let origins = WrittenRules::new(&self.world.policies, &self.world.sources);
        let failure = |flow: &Flow| {
            let judgement = judge(&*engine, flow);
            if flow.expected.contains(&judgement.verdict) {
                return None;
            }
            let line = VerdictLine::new(flow, &judgement, &origins);
            let expected: Vec<&str> = flow.expected.iter().map(|verdict| verdict.as_str()).collect();
            let mut text = format!("{} {}: expected {}, ", self.name, flow.id, expected.join(" or "));
            let _ = write!(text, "got {} ({})", line.verdict, line.reason);
            for by in line.by {
                let _ = write!(text, "\n    {} by {} {}:{}", by.direction, by.rule, by.file, by.line);
            }
            let source = self.world.cluster.name(flow.source);
            let destination = self.world.cluster.name(flow.destination);
            let _ = write!(text, "\n    {source} -> {destination}: {}", flow.why.as_deref().unwrap_or("-"));
            Some(text)
        };
        self.flows.iter().filter_map(failure).collect()
    }
}

/// Runs every case below `root` on an engine.
///
/// # Errors
/// A report of everything that is wrong, ready to print; the number of flows that were right otherwise.
pub fn run(root: &Path, make: MakeEngine) -> Result<usize, String> {
    let (mut right, mut wrong) = (0, Vec::new());
    for folder in folders(root) {
        match Case::load(root, &folder) {
            Ok(case) => {
                let failures = case.failures(make);
                right += case.flows.len().saturating_sub(failures.len());
                wrong.extend(failures);
            }
            Err(error) => wrong.push(error),
        }
    }
    if wrong.is_empty() {
        Ok(right)
    } else {
        Err(format!("{}\n{right} right, {} wrong", wrong.join("\n"), wrong.len()))
    }
}
