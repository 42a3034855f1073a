//! Two policy sets and the one cluster that they are compared for.
//!
//! The cluster is what the cluster's paths hold. Policies and CIDR groups among them count on both sides; of either side's
//! paths nothing but policies and groups counts, and what else is there is counted. Both sets are one project, joined,
//! so that findings, places and limits are those of any other command. A side may be empty: it is where everything is
//! allowed.
//!
//! Not here: what a difference is (`weir_compiler::diff`).

use crate::error::ProjectError;
use crate::inputs::{self, Manifests};
use crate::project::{Project, Step, addresses_of};
use crate::revision::Revision;
use std::path::PathBuf;
use weir_compiler::cluster::Cluster;
use weir_compiler::compile::{CompileError, Input};
use weir_compiler::diff::{self, Difference, join};
use weir_compiler::fqdn::FqdnLock;
use weir_compiler::identity::IdentityLock;
use weir_compiler::translate::translate;
use weir_grammar::Reading;
use weir_grammar::tree::Object;

/// Two policy sets, joined, and a cluster.
#[derive(Debug)]
pub struct Comparison {
    /// The joined set, with the findings of both.
    pub project: Project,
    /// How many policies each set has.
    pub policies: [usize; 2],
    /// How many rules each set has: those of the first have the ids below its number.
    pub rules: [usize; 2],
    /// Objects of either side that are no policy and no CIDR group.
    pub left_out: usize,
    /// What stands before the names of files of revisions.
    revisions: Vec<String>,
}

impl Comparison {
    /// Reads both sides and the cluster: files, folders, `-` for stdin; and, for the sides, `git:REVISION:PATH`.
    /// `progress` hears of every step as it begins.
    ///
    /// # Errors
    /// What cannot be read, or stdin asked for twice. What is wrong inside a file is a finding.
    pub fn read(
        sides: [&[PathBuf]; 2],
        cluster: &[PathBuf],
        progress: &mut dyn FnMut(Step),
    ) -> Result<Self, ProjectError> {
        inputs::refuse_stdin_twice(sides.into_iter().flatten().chain(cluster))?;
        let found = Manifests::find(&cluster.iter().collect::<Vec<_>>())?;
        let sides = [Side::find(sides[0])?, Side::find(sides[1])?];
        let revisions = sides.iter().flat_map(|side| &side.revisions).map(Revision::prefix).collect();
        let bytes = sides.iter().map(|side| side.files.bytes()).sum::<u64>() + found.bytes();
        progress(Step::Read { bytes });
        let mut reading = Reading::default();
        let mut objects = [Vec::new(), Vec::new()];
        for (side, objects) in sides.into_iter().zip(&mut objects) {
            side.read_into(&mut reading)?;
            objects.append(&mut reading.objects);
        }
        found.read_into(&mut reading)?;

        progress(Step::Translate);
        let mut findings = std::mem::take(&mut reading.diagnostics);
        let mut snapshot = Cluster::collect(&mut reading.objects, &mut findings);
        let (shared, shared_groups) = (reading.objects, std::mem::take(&mut snapshot.groups));
        let mut left_out = 0;
        let sets = objects.map(|objects| {
            let (mut policies, mut groups) = (shared.clone(), shared_groups.clone());
            for object in objects {
                match object {
                    Object::CidrGroup(group) => groups.push(group),
                    policy @ (Object::Cilium(_) | Object::Network(_)) => policies.push(policy),
                    // What is expected of policies changes nobody's traffic.
                    Object::Expectations(_) => {}
                    _ => left_out += 1,
                }
            }
            snapshot.set_groups(groups, &mut findings);
            let set = translate(policies, &snapshot, &mut findings);
            (set, std::mem::take(&mut snapshot.groups))
        });
        let rules = [0, 1].map(|side: usize| sets[side].0.rules.len());
        let policies = [0, 1].map(|side: usize| sets[side].0.policies.len());
        let [from, to] = sets;
        let joined = join(from, to);
        snapshot.groups = joined.groups;
        let project = Project::of(reading.sources, snapshot, joined.set, findings);
        Ok(Comparison { project, policies, rules, left_out, revisions })
    }

    /// The path of a file as it is in the work tree: that of a revision's file without the revision.
    pub fn path_in_tree<'f>(&self, file: &'f str) -> &'f str {
        self.revisions.iter().find_map(|prefix| file.strip_prefix(prefix.as_str())).unwrap_or(file)
    }

    /// Everything that changes from the first set to the second.
    ///
    /// # Errors
    /// The policies ask for something that no image can be; [`Project::refuse`] makes it a finding.
    pub fn differences(
        &self,
        identities: &mut IdentityLock,
        fqdn: Option<&FqdnLock>,
    ) -> Result<Vec<Difference>, CompileError> {
        let input = Input {
            set: &self.project.set,
            cluster: &self.project.cluster,
            sources: &self.project.sources,
            addresses_of: &|text, is_pattern| addresses_of(fqdn, text, is_pattern),
        };
        let split = u32::try_from(self.rules[0]).unwrap_or(u32::MAX);
        diff::differences(&input, split, identities)
    }
}

/// What one side is read from.
struct Side {
    files: Manifests,
    revisions: Vec<Revision>,
}

impl Side {
    fn find(paths: &[PathBuf]) -> Result<Self, ProjectError> {
        let (mut files, mut revisions) = (Vec::new(), Vec::new());
        for path in paths {
            match Revision::parse(path) {
                Some(revision) => revisions.push(revision?),
                None => files.push(path),
            }
        }
        Ok(Side { files: Manifests::find(&files)?, revisions })
    }

    fn read_into(self, reading: &mut Reading) -> Result<(), ProjectError> {
        self.files.read_into(reading)?;
        self.revisions.iter().try_for_each(|revision| revision.read(reading))
    }
}
