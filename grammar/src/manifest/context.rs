//! What a decoder needs besides the value it decodes: where findings go, and whose they are.

use crate::diagnostic::Diagnostic;
use crate::findings::Findings;
use crate::yaml::lane::RunItems;
use hashbrown::HashSet;

/// The surroundings of decoding one file.
#[derive(Debug)]
pub(crate) struct Context<'f> {
    /// The original text.
    pub(crate) text: &'f str,
    /// What is wrong.
    pub(crate) findings: &'f mut Findings,
    /// The object being decoded, as `Kind namespace/name`.
    pub(crate) object: Option<String>,
    /// Runs of CIDRs that were read before the YAML parser; each belongs into one list.
    pub(crate) runs: Vec<Option<RunItems>>,
    /// A run was met where no list of CIDRs stands: the file is read again without the lane.
    pub(crate) run_misplaced: bool,
    /// Regular expressions that are known to be good.
    pub(crate) expressions: HashSet<String>,
}

impl Context<'_> {
    /// Takes a finding about the current object.
    pub(crate) fn report(&mut self, mut finding: Diagnostic) {
        finding.object.clone_from(&self.object);
        self.findings.push(finding);
    }

    /// Takes a run out, to be put into a list.
    pub(crate) fn take_run(&mut self, index: u32) -> Option<RunItems> {
        let run = self.runs.get_mut(index as usize).and_then(Option::take);
        self.run_misplaced |= run.is_none();
        run
    }
}
