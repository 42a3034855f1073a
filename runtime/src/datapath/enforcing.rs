//! The kernel as what enforces: each step of a plan is one call of the datapath.

use super::{Answer, Datapath, DatapathError, Installation, Question, attach};
use crate::enforcer::{ConntrackReport, Counters, Enforcer, EventSource, Features, Sizes};
use crate::plan::{State, Step};
use std::time::Duration;

/// So long after a swap, its like is not expected soon.
const REST: Duration = Duration::from_secs(30);

impl Enforcer for Datapath {
    fn features(&self) -> Features {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let attach = if self.has_tcx { "tcx" } else { "clsact" };
        let (kernel, attach) = (kernel.trim().to_owned(), attach.to_owned());
        Features { kernel, attach, is_upgrade: self.is_upgrade() }
    }

    fn installed(&mut self) -> Result<State, DatapathError> {
        Ok(State {
            image: self.image_in_force(),
            addresses: self.addresses()?,
            endpoints: self.endpoints()?,
            attached: attach::standing(&mut self.programs, &self.versions.own)?,
        })
    }

    fn take(&mut self, step: &Step, image: &[u8]) -> Result<Option<Installation>, DatapathError> {
        match *step {
            Step::InstallImage(ref renaming) => return self.install_renaming(image, &[], renaming).map(Some),
            Step::SetAddress(address, identity) => self.set_address(address, identity)?,
            Step::RemoveAddress(address) => self.remove_address(address)?,
            Step::JudgeAgain => self.judge_again(),
            Step::SetEndpoint(interface, endpoint) => self.set_endpoint(interface, &endpoint)?,
            Step::RemoveEndpoint(interface) => self.remove_endpoint(interface)?,
            Step::Attach(interface) => self.attach(interface)?,
            Step::Detach(interface) => self.detach(interface)?,
        }
        Ok(None)
    }

    fn all_told(&mut self) -> Result<(), DatapathError> {
        self.all_addresses_told();
        self.finish_upgrade()
    }

    fn counters(&self) -> Result<Counters, DatapathError> {
        self.read_counters()
    }

    fn sweep(&mut self, most: usize) -> Result<ConntrackReport, DatapathError> {
        if self.swapped.elapsed() > REST {
            self.let_go_of_old_image()?;
        }
        self.sweep_connections(most)
    }

    fn forget_connections(&mut self, interface: u32) -> Result<(), DatapathError> {
        self.forget_connections_of(interface)
    }

    fn events(&mut self) -> Result<Box<dyn EventSource>, DatapathError> {
        self.open_events()
    }

    fn sizes(&self) -> Result<Sizes, DatapathError> {
        self.read_sizes()
    }

    fn ask(&self, question: &Question) -> Result<Answer, DatapathError> {
        Datapath::ask(self, question)
    }
}
