//! The loop: what is told of services, interfaces and pods, and time, to what is done and the status.
//!
//! One way to the kernel is gone at a time, and one placing; what comes meanwhile is remembered as one bit, and the latest counts.
//!
//! Not here: the way itself ([`super::bring`]), where balancing stands ([`super::places`]).

mod report;

use super::bring::{Brought, Errand, Way, bring, take_up};
use super::health::HealthServer;
use super::in_force::InForce;
use super::places::{Places, places};
use super::{Heard, Means};
use crate::balancer::{BalanceReport, Balancer, DeviceReport};
use crate::interfaces::Interfaces;
use crate::probes::Probes;
use crate::snapshot::{Findings, chain};
use crate::status::BalancingStatus;
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{error, warn};
use weir_abi::services::live::BalanceCounter;

/// How often everything is said again, and slots are looked at that may settle.
const RECONCILE: Duration = Duration::from_secs(30);
/// How often translations and flows whose time is up are removed,
const SWEEP: Duration = Duration::from_secs(5);
/// and how many are looked at each time.
const SWEPT: usize = 1 << 16;
/// How soon something that failed is tried again; the pause doubles up to [`RECONCILE`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The part and all its state.
pub(super) struct Part {
    means: Means,
    store: Arc<Store>,
    tell: watch::Sender<BalancingStatus>,

    heard: Heard,
    interfaces: Option<Interfaces>,
    pods: Option<BTreeSet<u32>>,
    probes: Probes,

    way: Option<Way>,
    in_force: Option<Arc<InForce>>,
    work: JoinSet<Done>,
    /// What an earlier run left was taken up.
    has_begun: bool,
    is_bringing: bool,
    /// Services were heard of meanwhile.
    is_stale: bool,
    is_placing: bool,
    /// Something is to be placed elsewhere meanwhile.
    is_place_stale: bool,
    is_sweeping: bool,
    /// Where balancing stands, as far as is known.
    placed: Option<Places>,
    reports: Vec<DeviceReport>,
    health: HealthServer,
    warnings: Findings,
    sweep: BalanceReport,
    counters: Vec<(BalanceCounter, u64)>,
    /// What is wrong.
    refused: Option<String>,
    trouble: Option<String>,
    keep_failure: Option<String>,
    place_failures: Vec<String>,
    sweep_trouble: Option<String>,
    retry: Option<(Instant, Duration)>,
}

/// What is done.
enum Done {
    Brought(Box<Brought>),
    Placed(Box<Placed>),
    Swept(Result<(BalanceReport, Vec<(BalanceCounter, u64)>), String>),
}

/// What became of placing.
struct Placed {
    places: Places,
    reports: Vec<DeviceReport>,
    failures: Vec<String>,
}

impl Part {
    pub(super) fn new(means: Means, store: Arc<Store>, tell: watch::Sender<BalancingStatus>) -> Part {
        let health = HealthServer::new(means.settings.health_checks);
        Part {
            means,
            store,
            tell,
            heard: Heard::default(),
            interfaces: None,
            pods: None,
            probes: Probes::spawn(),
            way: None,
            in_force: None,
            work: JoinSet::new(),
            has_begun: false,
            is_bringing: false,
            is_stale: false,
            is_placing: false,
            is_place_stale: false,
            is_sweeping: false,
            placed: None,
            reports: Vec::new(),
            health,
            warnings: Findings::default(),
            sweep: BalanceReport::default(),
            counters: Vec::new(),
            refused: None,
            trouble: None,
            keep_failure: None,
            place_failures: Vec::new(),
            sweep_trouble: None,
            retry: None,
        }
    }

    /// Runs until it is stopped, or whoever began it is gone.
    pub(super) async fn run(
        mut self,
        mut heard: watch::Receiver<Heard>,
        mut interfaces: watch::Receiver<Option<Interfaces>>,
        mut pods: watch::Receiver<Option<BTreeSet<u32>>>,
        mut stop: oneshot::Receiver<()>,
    ) {
        self.bring(false);
        let mut ticks = [RECONCILE, SWEEP].map(|period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.reset();
            ticks
        });
        let [reconcile, sweep] = &mut ticks;
        loop {
            let retry = self.retry.map(|(at, _)| at);
            tokio::select! {
                _ = &mut stop => break,
                Ok(()) = heard.changed() => {
                    self.heard.clone_from(&heard.borrow_and_update());
                    self.tell_refusal();
                    if let Some(services) = &self.heard.services {
                        self.probes.set(Arc::clone(services.plan()));
                    }
                    self.bring(false);
                    self.place(false);
                }
                Ok(()) = interfaces.changed() => {
                    let own = self.interfaces.take().map(|interfaces| interfaces.own);
                    self.interfaces.clone_from(&interfaces.borrow_and_update());
                    if own != self.interfaces.as_ref().map(|interfaces| interfaces.own.clone()) {
                        self.bring(false);
                    }
                    self.place(false);
                }
                () = self.probes.changed() => self.bring(false),
                Ok(()) = pods.changed() => {
                    self.pods.clone_from(&pods.borrow_and_update());
                    self.place(false);
                }
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(failed) => self.lost(&failed.to_string()),
                },
                _ = reconcile.tick() => {
                    self.place(true);
                    self.settle();
                    self.answer_health();
                }
                _ = sweep.tick() => self.sweep(),
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                    if let Some((at, _)) = &mut self.retry {
                        *at = Instant::now() + RECONCILE;
                    }
                    if self.trouble.is_some() {
                        self.bring(false);
                    }
                    self.place(true);
                }
            }
            self.tell();
        }
        // What is on its way arrives, so that the next daemon finds disk and kernel of one mind.
        while self.is_bringing {
            match self.work.join_next().await {
                Some(Ok(Done::Brought(_))) | None => break,
                Some(_) => {}
            }
        }
    }

    fn tell_refusal(&self) {
        if let Some(refused) = &self.heard.refused {
            error!("{refused}");
            error!("services stay as they were");
        }
    }

    /// Takes up what is there, the first time; then brings the newest services into force.
    fn bring(&mut self, to_settle: bool) {
        if self.is_bringing {
            self.is_stale |= !to_settle;
            return;
        }
        if !self.has_begun {
            let (open, store) = (Arc::clone(&self.means.open), Arc::clone(&self.store));
            self.is_bringing = true;
            self.is_stale = true;
            self.work.spawn(async move { Done::Brought(Box::new(take_up(open, store).await)) });
            return;
        }
        let Some(services) = &self.heard.services else { return };
        // The addresses of a machine that is no node are those of its interfaces.
        let own = match &self.interfaces {
            Some(interfaces) => &interfaces.own,
            None if services.node().is_some() => &BTreeSet::new(),
            None => return,
        };
        let services = services.seen(own, self.probes.found());
        self.is_bringing = true;
        let errand = Errand {
            way: self.way.clone(),
            means: self.means.clone(),
            store: Arc::clone(&self.store),
            services: Arc::new(services),
            in_force: self.in_force.clone(),
            to_settle,
        };
        self.work.spawn(async move { Done::Brought(Box::new(bring(errand).await)) });
    }

    /// Lets slots settle that no record needs any more.
    fn settle(&mut self) {
        let waits = self.in_force.as_ref().is_some_and(|in_force| in_force.has_unsettled());
        if waits && self.has_begun && self.refused.is_none() {
            self.bring(true);
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Brought(brought) => self.brought(*brought),
            Done::Placed(placed) => self.placed(*placed),
            Done::Swept(Ok((report, counters))) => {
                self.is_sweeping = false;
                (self.sweep, self.counters, self.sweep_trouble) = (report, counters, None);
                if report.removed > 0 {
                    self.settle();
                }
            }
            Done::Swept(Err(why)) => {
                self.is_sweeping = false;
                self.sweep_trouble = Some(format!("what is on record cannot be swept: {why}"));
            }
        }
    }

    /// Something ended badly, and what it was to do with it: everything is opened again.
    fn lost(&mut self, why: &str) {
        error!("balancing has lost a thread: {why}");
        (self.is_bringing, self.is_placing, self.is_sweeping) = (false, false, false);
        self.way = None;
        self.has_begun = false;
        self.trouble = Some(why.to_owned());
        self.try_again();
    }

    fn brought(&mut self, brought: Brought) {
        self.is_bringing = false;
        let Brought { way, in_force, is_done, refused, trouble, keep_failure, warnings } = brought;
        self.has_begun |= is_done;
        let is_other = self.in_force.as_ref().map(|image| image.checksum)
            != in_force.as_ref().map(|image| image.checksum);
        (self.way, self.in_force) = (way, in_force);
        if let Some(warnings) = warnings {
            for warning in warnings.lines.iter().filter(|line| !self.warnings.lines.contains(line)) {
                warn!("{warning}");
            }
            self.warnings = warnings;
        }
        for told in [&refused, &trouble, &keep_failure].into_iter().flatten() {
            error!("{told}");
        }
        (self.refused, self.trouble, self.keep_failure) = (refused, trouble, keep_failure);
        if self.in_force.is_none() {
            // Nothing stands anywhere any more.
            self.placed = None;
            self.reports.clear();
            self.place_failures.clear();
        }
        self.after_failures();
        if is_other {
            self.answer_health();
            self.place(false);
        }
        if std::mem::take(&mut self.is_stale) && self.trouble.is_none() {
            self.bring(false);
        }
    }

    /// Failures are tried again, ever later.
    fn after_failures(&mut self) {
        if self.trouble.is_none() && self.place_failures.is_empty() {
            self.retry = None;
        } else {
            self.try_again();
        }
    }

    fn try_again(&mut self) {
        let pause = self.retry.map_or(FIRST_RETRY, |(_, pause)| (pause * 2).min(RECONCILE));
        self.retry = Some((Instant::now() + pause, pause));
    }

    /// Opens and closes health-check ports.
    fn answer_health(&mut self) {
        let checks = self.in_force.as_ref().map_or(&[][..], |in_force| &in_force.checks);
        self.health.set(checks);
    }

    /// Where balancing is to stand, as far as is known.
    fn wanted(&self) -> Places {
        let pods = self.pods.as_ref();
        match (&self.heard.services, &self.interfaces) {
            (Some(services), Some(interfaces)) => {
                let named = &self.means.settings.devices;
                places(services.node(), services.is_alone(), interfaces, named, pods)
            }
            _ => Places { pods: pods.cloned(), ..Places::default() },
        }
    }

    /// Puts balancing where it is to stand, if it is not known to stand there or `again` is said.
    fn place(&mut self, again: bool) {
        let Some(way) = self.way.clone().filter(|_| self.in_force.is_some()) else { return };
        let wanted = self.wanted();
        if !again && self.place_failures.is_empty() && self.placed.as_ref() == Some(&wanted) {
            return;
        }
        if std::mem::replace(&mut self.is_placing, true) {
            self.is_place_stale = true;
            return;
        }
        self.is_place_stale = false;
        // Until the node is known its devices are left as an earlier run put them.
        let knows_devices = self.heard.services.is_some() && self.interfaces.is_some();
        self.work.spawn(async move {
            let places = wanted.clone();
            let done = way.call(move |balancer| put(balancer, &wanted, knows_devices)).await;
            let (reports, failures) = done.unwrap_or_else(|gone| (Vec::new(), vec![gone.to_string()]));
            Done::Placed(Box::new(Placed { places, reports, failures }))
        });
    }

    fn placed(&mut self, placed: Placed) {
        self.is_placing = false;
        let Placed { places, reports, failures } = placed;
        for failure in failures.iter().filter(|failure| !self.place_failures.contains(failure)) {
            error!("{failure}");
        }
        if self.in_force.is_none() {
            // It was withdrawn meanwhile; what was put there after that is taken away again.
            self.placed = None;
            return;
        }
        (self.placed, self.reports, self.place_failures) = (Some(places), reports, failures);
        self.after_failures();
        if std::mem::take(&mut self.is_place_stale) {
            self.place(false);
        }
    }

    fn sweep(&mut self) {
        let Some(way) = self.way.clone().filter(|_| self.in_force.is_some() && !self.is_sweeping) else {
            return;
        };
        self.is_sweeping = true;
        self.work.spawn(async move {
            let swept = way.call(|balancer| Ok((balancer.sweep(SWEPT)?, balancer.counters()?)));
            let swept: Result<Result<_, crate::datapath::DatapathError>, _> = swept.await;
            let swept = swept.map_err(|gone| gone.to_string());
            Done::Swept(swept.and_then(|swept| swept.map_err(|error| chain(&error))))
        });
    }

    /// Tells the status, if it is another.
    fn tell(&self) {
        let status = self.status();
        self.tell.send_if_modified(|known| {
            let is_new = *known != status;
            *known = status;
            is_new
        });
    }
}

/// Puts balancing where it is to stand, on its thread. What fails holds nothing else up.
fn put(
    balancer: &mut dyn Balancer,
    places: &Places,
    knows_devices: bool,
) -> (Vec<DeviceReport>, Vec<String>) {
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    if balancer.image_in_force().is_none() {
        // It was withdrawn since this was asked for.
        return (reports, failures);
    }
    if let Err(error) = balancer.set_sockets() {
        failures.push(format!("cannot balance where sockets connect: {}", chain(&error)));
    }
    if knows_devices {
        if let Err(error) = balancer.set_node(places.v4, places.v6) {
            failures.push(format!("cannot say which addresses the node has: {}", chain(&error)));
        }
        match balancer.set_devices(&places.devices) {
            Ok(told) => reports = told,
            Err(error) => failures.push(format!("cannot balance at the node's devices: {}", chain(&error))),
        }
    }
    if let Some(Err(error)) = places.pods.as_ref().map(|pods| balancer.set_pods(pods)) {
        failures.push(format!("cannot balance at the pods: {}", chain(&error)));
    }
    // What another version has where this one failed is better than nothing.
    if knows_devices
        && places.pods.is_some()
        && failures.is_empty()
        && reports.iter().all(|report| report.stands)
        && let Err(error) = balancer.finish_upgrade()
    {
        failures.push(format!("cannot take away what another version left: {}", chain(&error)));
    }
    (reports, failures)
}
