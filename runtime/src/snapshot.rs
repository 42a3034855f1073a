//! A source read whole and compiled for one node: an image with its names, or what is wrong.
//!
//! A set with any error makes no image: one policy that is left out may be the one that denies. Whoever is in the cluster is
//! told all the same as far as it could be read, so that a pod that came meanwhile does not stand outside.
//!
//! Not here: what is done with it ([`crate::daemon`]).

use crate::legend::Legend;
use crate::roster::Roster;
use crate::source::Source;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_abi::{Image, ImageError};
use weir_compiler::cluster::Cluster;
use weir_compiler::compile::CompileError;
use weir_grammar::diagnostic::Severity;
use weir_project::visible::visible;
use weir_project::{Project, ProjectError, finding};

/// Findings that are told one by one.
const FINDINGS: usize = 100;

/// What a source says.
#[derive(Debug)]
pub enum Taken {
    /// An image.
    Good(Snapshot),
    /// Something is wrong.
    Bad(Refusal),
}

/// An image for this node, and what its numbers mean.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The image's bytes, checked.
    pub image: Arc<[u8]>,
    /// Its names.
    pub legend: Arc<Legend>,
    /// The cluster that it was compiled for.
    pub cluster: Arc<Cluster>,
    /// Who is who in it.
    pub roster: Arc<Roster>,
    /// What is legal and probably not meant, a line each.
    pub warnings: Findings,
    /// How long it took.
    pub took: Duration,
}

/// Why there is no image.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// What is wrong, a line each.
    pub findings: Findings,
    /// The cluster, as far as it could be read.
    pub cluster: Option<Arc<Cluster>>,
    /// Who is who under the last good image; `None`: as before.
    pub roster: Option<Arc<Roster>>,
}

/// What was good last: an image, and who is who under it.
#[derive(Clone, Debug)]
pub struct LastGood {
    /// Its bytes.
    pub image: Arc<[u8]>,
    /// Who is who.
    pub roster: Arc<Roster>,
}

/// Lines for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The first ones.
    pub lines: Vec<String>,
    /// How many there are beside these.
    pub more: usize,
}

impl Findings {
    pub(crate) fn new(lines: impl Iterator<Item = String>) -> Self {
        let mut findings = Findings::default();
        for line in lines {
            if findings.lines.len() < FINDINGS {
                findings.lines.push(line);
            } else {
                findings.more += 1;
            }
        }
        findings
    }
}

/// Reads and compiles. Identity numbers are those of the file, and new ones are kept there. `read` hears of what was read before policy
/// is compiled, whatever is wrong with it.
pub fn take(
    source: &Source,
    node: &str,
    identities: &Path,
    last: Option<&LastGood>,
    read: &mut dyn FnMut(&Project),
) -> Taken {
    let began = Instant::now();
    let mut project = match Project::read(&[], &[source.path().to_owned()], &mut |_| ()) {
        Ok(project) => project,
        Err(error) => {
            return Taken::Bad(Refusal { findings: told(&error.into()), ..Refusal::default() });
        }
    };
    read(&project);
    let findings = match compile(&mut project, node, identities, last) {
        Ok(Some(Kept { image, legend, roster, warning })) => {
            let warnings = Findings::new(lines(&project, Severity::Warning).chain(warning));
            let cluster = project.cluster;
            let took = began.elapsed();
            return Taken::Good(Snapshot { image, legend, cluster, roster, warnings, took });
        }
        Ok(None) => Findings::new(lines(&project, Severity::Error)),
        Err(error) => told(&error),
    };
    let cluster = project.cluster;
    let roster = last.and_then(|last| join(&cluster, node, last));
    Taken::Bad(Refusal { findings, cluster: Some(cluster), roster: roster.map(Arc::new) })
}

/// Who is who when the policies are bad: newcomers join those who were known. A cluster without this node says
/// nothing of who is on it.
fn join(cluster: &Cluster, node: &str, last: &LastGood) -> Option<Roster> {
    cluster.node_named(node)?;
    let image = Image::open(&last.image).ok()?;
    Some(Roster::new(&image, cluster, node).joined(&last.roster))
}

/// Why a source that says nothing wrong makes no image.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("the image that was compiled is refused: {0}")]
    Image(#[from] ImageError),
}

/// What is kept of a compiled image; `None` if something is wrong, which then is among the findings.
struct Kept {
    image: Arc<[u8]>,
    legend: Arc<Legend>,
    roster: Arc<Roster>,
    /// The numbers of identities could not be kept.
    warning: Option<String>,
}

/// Whether this machine is no node of a cluster: nothing is about nodes, and nothing was when a source was good last. Node objects that are gone under
/// pods that stand here are a mistake, and no reason to let go of the pods.
fn is_no_node(cluster: &Cluster, last: Option<&LastGood>) -> bool {
    cluster.is_without_nodes()
        && last.is_none_or(|last| last.roster.members.iter().all(|member| !member.here))
}

fn compile(
    project: &mut Project,
    node: &str,
    identities: &Path,
    last: Option<&LastGood>,
) -> Result<Option<Kept>, SnapshotError> {
    let mut identities = project.identity_file(Some(identities))?;
    if project.has_errors() {
        return Ok(None);
    }
    let place = project.node(Some(node).filter(|_| !is_no_node(&project.cluster, last)))?;
    let Some(compiled) = project.image(place, &mut identities, None, &mut |_| ())? else { return Ok(None) };
    let image: Arc<[u8]> = Arc::from(compiled.bytes.as_bytes());
    let opened = Image::open(&image)?;
    let legend = Arc::new(Legend::new(&opened));
    let roster = Arc::new(Roster::new(&opened, &project.cluster, node));
    // A full disk is no reason to enforce yesterday's policy.
    let warning = identities.save().err().map(|error| chain(&error));
    Ok(Some(Kept { image, legend, roster, warning }))
}

fn lines(project: &Project, severity: Severity) -> impl Iterator<Item = String> {
    let places = project.places();
    let findings = project.findings.iter().filter(move |found| found.severity == severity);
    findings.map(move |found| finding::line(found, &places))
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_told = cause.to_string();
        if !told.contains(&cause_told) {
            told = format!("{told}: {cause_told}");
        }
        source = cause.source();
    }
    told
}

fn told(error: &SnapshotError) -> Findings {
    Findings::new(chain(error).lines().map(|line| visible(line).into_owned()))
}

#[cfg(test)]
mod tests;
