//! The workloads, each a file of its own, and the table of them.

pub mod dealt;
pub mod disjoint;
pub mod edge;
pub mod many_pods;
pub mod million;
pub mod overlapping;
pub mod services;
pub mod thousand_rules;

use std::fs;
use std::io;
use std::path::Path;

/// A workload: what it is called, what it is, and the texts of it.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// The name of its directory.
    pub name: &'static str,
    /// What it is, for the table of results.
    pub what: &'static str,
    /// `policies.yaml`.
    pub policies: fn() -> String,
    /// `cluster.yaml`.
    pub cluster: fn() -> String,
    /// `changed.yaml`: the policies with some changes, where they are compared.
    pub changed: Option<fn() -> String>,
}

impl Workload {
    /// Writes it into a directory, which is made if need be.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("policies.yaml"), (self.policies)())?;
        if let Some(changed) = self.changed {
            fs::write(directory.join("changed.yaml"), changed())?;
        }
        fs::write(directory.join("cluster.yaml"), (self.cluster)())
    }
}

/// Every workload.
pub const ALL: &[Workload] = &[
    million::WORKLOAD,
    overlapping::WORKLOAD,
    disjoint::WORKLOAD,
    thousand_rules::WORKLOAD,
    many_pods::WORKLOAD,
    services::MANY,
    services::LARGE,
    services::PORTS,
];
