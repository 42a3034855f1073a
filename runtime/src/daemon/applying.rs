//! From what is wanted to the kernel and the disk, and what became of it.

use super::{Daemon, Done, FIRST_RETRY, Kept, RECONCILE, SWEPT, checksum};
use crate::datapath::{DatapathError, Installation};
use crate::enforcer::{Counters, Enforcer, Sizes};
use crate::plan::{State, Step, plan};
use crate::snapshot::chain;
use crate::wanted::wanted;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;
use tracing::{error, info, warn};

/// What became of steps.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// The image that [`Step::InstallImage`] stood for.
    image: Option<u64>,
    taken: Vec<Step>,
    failed: Vec<(Step, String)>,
    installation: Option<Installation>,
    /// What was counted under the image before.
    counters: Option<Counters>,
}

impl Daemon {
    /// Asks the kernel what it holds. At the beginning connections are judged again, for a daemon that died between two steps
    /// may have left some judged under who was there before.
    pub(super) fn compare(&mut self, is_first: bool) {
        if std::mem::replace(&mut self.is_applying, true) {
            // What is being changed is known afterwards.
            return;
        }
        let kernel = self.kernel.clone();
        self.work.spawn(async move {
            let compared = kernel.call(move |enforcer| {
                if is_first {
                    enforcer.take(&Step::JudgeAgain, &[])?;
                }
                enforcer.installed()
            });
            compared.await.map_or(Done::KernelGone, Done::Installed)
        });
    }

    pub(super) fn compared(&mut self, installed: Result<State, DatapathError>) {
        self.is_applying = false;
        match installed {
            Ok(installed) => {
                let is_first = self.believed.is_none();
                if self.believed.as_ref().is_some_and(|believed| *believed != installed) {
                    warn!("the kernel holds something else than it was told; it is told again");
                }
                self.believed = Some(installed);
                if is_first {
                    self.fall_back();
                }
            }
            Err(error) => {
                error!(%error, "cannot compare the kernel with what is wanted");
                self.measured.trouble = Some(error.to_string());
            }
        }
        self.converge();
    }

    /// Brings the kernel to what is wanted, as far as that is known.
    pub(super) fn converge(&mut self) {
        if self.is_applying {
            self.is_stale = true;
            return;
        }
        self.is_stale = false;
        let (Some(target), Some(interfaces), Some(believed)) =
            (&self.target, &self.interfaces, &self.believed)
        else {
            return;
        };
        let wanted = wanted(
            target.legend.checksum,
            &target.roster,
            interfaces,
            &self.registrations,
            &self.wanted.placements,
            &believed.attached.difference(&self.released).copied().collect(),
        );
        let steps = plan(believed, &wanted.state);
        self.released.retain(|index| !wanted.placements.contains_key(index));
        if wanted.placements != self.wanted.placements {
            let placements = wanted.placements.clone();
            self.observer.rename(|naming| naming.set_placements(placements));
        }
        let image = wanted.state.image;
        if let Some(balancing) = &self.balancing {
            // As policy, balancing goes on where it stands until an interface is known to be no pod's.
            balancing.set_pods(wanted.state.attached.clone());
        }
        self.wanted = wanted;
        if steps.is_empty() {
            self.failures.clear();
            self.retry = None;
            self.tell_all_told();
            self.settled();
            return;
        }
        self.is_applying = true;
        let (kernel, bytes) = (self.kernel.clone(), Arc::clone(&target.image));
        self.work.spawn(async move {
            let applied = kernel.call(move |enforcer| apply(enforcer, image, &bytes, &steps));
            applied.await.map_or(Done::KernelGone, |applied| Done::Applied(Box::new(applied)))
        });
    }

    /// Once: the kernel has all that is wanted, so an earlier run or version left nothing that counts.
    fn tell_all_told(&mut self) {
        if !std::mem::replace(&mut self.has_told_all, true) {
            let kernel = self.kernel.clone();
            self.work.spawn(async move {
                kernel.call(Enforcer::all_told).await.map_or(Done::KernelGone, Done::ToldAll)
            });
        }
    }

    pub(super) fn told_all(&mut self, told: Result<(), DatapathError>) {
        match told {
            Ok(()) => self.features.is_upgrade = false,
            Err(error) => {
                // Again after the next comparison.
                self.has_told_all = false;
                error!(%error, "what another version left cannot be taken over");
            }
        }
    }

    pub(super) fn applied(&mut self, applied: Applied) {
        self.is_applying = false;
        if let Some(counters) = &applied.counters {
            self.harvest(counters);
        }
        if let Some(believed) = &mut self.believed {
            applied.taken.iter().for_each(|step| believed.take(step, applied.image));
        }
        if let Some(Installation { bytes, class, grown, in_force, settled, .. }) = applied.installation {
            let now = SystemTime::now();
            if let Some(target) =
                self.target.as_mut().filter(|target| Some(target.legend.checksum) == applied.image)
            {
                target.since = Some(now);
                info!(image = %checksum(target.legend.checksum), policies = target.legend.policies,
                    rules = target.legend.rule_count(), bytes, class, grown, ?in_force, ?settled, "an image is in force");
            }
        }
        self.released.retain(|index| !applied.taken.contains(&Step::Detach(*index)));
        self.tell_endpoints(&applied.taken);
        self.failures =
            applied.failed.iter().map(|(step, why)| format!("{}: {why}", self.in_words(step))).collect();
        for failure in &self.failures {
            error!("{failure}");
        }
        self.retry = if self.failures.is_empty() {
            None
        } else {
            let pause = self.retry.map_or(FIRST_RETRY, |(_, pause)| (pause * 2).min(RECONCILE));
            Some((Instant::now() + pause, pause))
        };
        if self.failures.is_empty() {
            self.tell_all_told();
        }
        if self.is_stale {
            self.converge();
        } else {
            self.settled();
        }
    }

    /// What was done to pods, in the log.
    fn tell_endpoints(&self, taken: &[Step]) {
        let interface = |index: &u32| {
            let link = self.interfaces.as_ref().and_then(|known| known.links.get(index));
            link.map_or("", |link| link.name.as_str())
        };
        for step in taken {
            match step {
                Step::Attach(index) => {
                    let pod = self.wanted.placements.get(index).map_or("", |placement| &placement.pod);
                    info!(pod, interface = interface(index), index, "policy stands at a pod");
                }
                Step::RemoveEndpoint(index) if self.wanted.state.attached.contains(index) => warn!(
                    interface = interface(index),
                    index,
                    "nothing passes at an interface any more, because no pod has it: until it goes, or `policyd cleanup`"
                ),
                Step::Detach(index) => {
                    info!(index, "policy stands no more at an interface, which is gone or was unregistered");
                }
                _ => {}
            }
        }
    }

    fn in_words(&self, step: &Step) -> String {
        let at = |index: &u32| match self.wanted.placements.get(index) {
            Some(placement) => format!("pod {} at {}", placement.pod, placement.interface),
            None => format!("interface {index}"),
        };
        match step {
            Step::InstallImage(_) => "cannot put the image in force".to_owned(),
            Step::SetAddress(address, _) => format!("cannot say whose {address} is"),
            Step::RemoveAddress(address) => format!("cannot forget {address}"),
            Step::JudgeAgain => "cannot have connections judged again".to_owned(),
            Step::SetEndpoint(index, _) => format!("cannot say who {} is", at(index)),
            Step::RemoveEndpoint(index) => format!("cannot forget {}", at(index)),
            Step::Attach(index) => format!("cannot enforce policy of {}", at(index)),
            Step::Detach(index) => format!("cannot take the programs from {}", at(index)),
        }
    }

    /// All is done that can be done now: it is kept, and then who waits for it is told.
    pub(super) fn settled(&mut self) {
        self.keep();
        if !self.is_keeping {
            self.answer_waiting();
        }
    }

    /// Keeps on disk what came into force, and which interfaces were registered, whatever is in force.
    fn keep(&mut self) {
        if self.is_keeping {
            return;
        }
        let in_force = self.believed.as_ref().and_then(|believed| believed.image);
        let target = self.target.as_ref().filter(|target| Some(target.legend.checksum) == in_force);
        let (image, roster, bytes) = match target {
            Some(target) => (in_force, Some(Arc::clone(&target.roster)), Some(Arc::clone(&target.image))),
            None => (self.kept.0, self.kept.1.clone(), None),
        };
        let same_roster = match (&self.kept.1, &roster) {
            (Some(kept), Some(roster)) => Arc::ptr_eq(kept, roster) || kept == roster,
            (kept, roster) => kept.is_none() && roster.is_none(),
        };
        let (is_new_image, is_new_state) =
            (self.kept.0 != image, !same_roster || self.kept.2 != self.registrations);
        if !is_new_image && !is_new_state {
            return;
        }
        self.is_keeping = true;
        let (store, registrations) = (Arc::clone(&self.store), self.registrations.clone());
        self.work.spawn_blocking(move || {
            let keep = || {
                if let Some(bytes) = bytes.filter(|_| is_new_image) {
                    store.keep_image(&bytes)?;
                }
                store.keep_state(image, roster.as_deref(), &registrations)
            };
            let failure = keep().err().map(|error| chain(&error));
            Done::Kept(Box::new(Kept { image, roster, registrations, failure }))
        });
    }

    pub(super) fn has_kept(&mut self, kept: Kept) {
        self.is_keeping = false;
        let Kept { image, roster, registrations, failure } = kept;
        if let Some(failure) = &failure {
            error!("the last good image cannot be kept: {failure}");
        }
        let failed = failure.is_some();
        self.keep_failure = failure;
        if !failed {
            self.kept = (image, roster, registrations);
            // Something else may have come into force meanwhile. What failed is tried again with the next comparison.
            self.keep();
        }
        if !self.is_keeping {
            self.answer_waiting();
        }
    }

    pub(super) fn sweep(&mut self) {
        if std::mem::replace(&mut self.is_sweeping, true) {
            return;
        }
        let kernel = self.kernel.clone();
        self.work.spawn(async move {
            kernel.call(|enforcer| enforcer.sweep(SWEPT)).await.map_or(Done::KernelGone, Done::Swept)
        });
    }

    /// Asks the kernel what it has counted.
    pub(super) fn measure(&mut self) {
        if std::mem::replace(&mut self.is_measuring, true) {
            return;
        }
        let kernel = self.kernel.clone();
        self.work.spawn(async move {
            let measured = kernel.call(|enforcer| Ok((enforcer.counters()?, enforcer.sizes()?)));
            measured.await.map_or(Done::KernelGone, |measured| Done::Measured(Box::new(measured)))
        });
    }

    pub(super) fn measured(&mut self, measured: Result<(Counters, Sizes), DatapathError>) {
        self.is_measuring = false;
        match measured {
            Ok((counters, sizes)) => {
                self.harvest(&counters);
                (self.measured.counters, self.measured.sizes) = (counters, sizes);
                self.measured.trouble = None;
            }
            Err(error) => self.measured.trouble = Some(error.to_string()),
        }
        self.answer_measured();
    }

    fn harvest(&mut self, counters: &Counters) {
        let legend = self.legends.iter().find(|legend| Some(legend.checksum) == counters.image);
        if let Some(legend) = legend {
            self.tally.harvest(legend, counters);
        }
    }
}

/// Takes steps, on the datapath's thread. If the image does not come into force, all is left for the next time but that programs are put
/// at pods: a pod that could not be told of has them too, and they let nothing pass there.
fn apply(enforcer: &mut dyn Enforcer, image: Option<u64>, bytes: &[u8], steps: &[Step]) -> Applied {
    let mut applied = Applied { image, ..Applied::default() };
    if steps.iter().any(|step| matches!(step, Step::InstallImage(_))) {
        applied.counters = enforcer.counters().ok();
    }
    let mut is_image_refused = false;
    for step in steps {
        if is_image_refused && !matches!(step, Step::Attach(_)) {
            continue;
        }
        match enforcer.take(step, bytes) {
            Ok(installation) => {
                applied.installation = installation.or(applied.installation);
                applied.taken.push(step.clone());
            }
            Err(error) => {
                applied.failed.push((step.clone(), chain(&error)));
                is_image_refused |= matches!(step, Step::InstallImage(_));
                continue;
            }
        }
        if let Step::RemoveEndpoint(interface) = step {
            // Another pod's connections may get the same number; theirs are judged by interface too.
            if let Err(error) = enforcer.forget_connections(*interface) {
                warn!(%error, interface, "cannot forget the connections of an interface");
            }
        }
    }
    applied
}
