//! The daemon: a source, this node's interfaces and the kernel, kept in agreement.
//!
//! ```text
//! source ─ snapshot ─┐
//! interfaces ────────┼─ wanted ─ plan ─ apply (the datapath's thread) ─ keep on disk ─ report
//! registrations ─────┘     └── again every half minute, against what the kernel really holds
//! ```
//!
//! Invariants: a bad policy set changes no policy; what ends the daemon leaves enforcement in place; nothing waits here for
//! the kernel, a disk or a compiler, and at most one of each is at work at a time.
//!
//! Not here: what is wanted ([`crate::wanted`]) and in what order ([`crate::plan`]); services, which are only handed on ([`crate::balancing`]).

mod applying;
mod report;
mod requests;

use crate::balancing::{Balancing, Means};
use crate::control::server::{Asked, Server, ServerError};
use crate::datapath::DatapathError;
use crate::enforcer::{ConntrackReport, Counters, Enforcer, Features, Sizes};
use crate::event::Naming;
use crate::interfaces::{Interfaces, netlink};
use crate::kernel::{Kernel, KernelGone};
use crate::legend::Legend;
use crate::observer::Observer;
use crate::plan::State;
use crate::registrations::Registrations;
use crate::roster::Roster;
use crate::snapshot::{self, Findings, LastGood, Refusal, Snapshot, Taken};
use crate::source::Source;
use crate::store::{Store, StoreError, Stored};
use crate::tally::Tally;
use crate::wanted::Wanted;
use applying::Applied;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{error, info, warn};
use weir_abi::Image;
use weir_compiler::cluster::Cluster;
use weir_project::Project;

/// How often the kernel is held against what is wanted.
const RECONCILE: Duration = Duration::from_secs(30);
/// How often connections whose time is up are removed,
const SWEEP: Duration = Duration::from_secs(5);
/// and how many are looked at each time.
const SWEPT: usize = 1 << 16;
/// How often rules' counters are harvested.
const HARVEST: Duration = Duration::from_secs(10);
/// How soon something that failed is tried again; the pause doubles up to [`RECONCILE`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Images whose names are kept.
const LEGENDS: usize = 3;

/// What the daemon is for, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where policies and the cluster come from.
    pub source: Source,
    /// This node, as the cluster calls it.
    pub node: String,
    /// The folder for what is kept.
    pub state: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// How services are balanced; `None`: they are not.
    pub balancing: Option<Means>,
}

/// Why the daemon ended, or did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The folder for what is kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The control socket.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The datapath cannot be opened.
    #[error("cannot open the datapath: {0}")]
    Datapath(#[from] DatapathError),
    /// The datapath's thread is gone.
    #[error(transparent)]
    KernelGone(#[from] KernelGone),
    /// There can be no thread.
    #[error("cannot begin a thread: {0}")]
    Thread(#[from] io::Error),
}

/// Runs until `stop` is ready. `open` opens the datapath, away from the executor.
///
/// # Errors
/// [`DaemonError`]. Enforcement stays as it is, whatever the reason.
pub async fn run(
    settings: Settings,
    open: impl FnOnce() -> Result<Box<dyn Enforcer>, DatapathError> + Send + 'static,
    stop: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let store = Arc::new(Store::open(&settings.state)?);
    let server = Server::bind(&settings.socket)?;
    let mut enforcer = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
    let features = enforcer.features();
    info!(node = %settings.node, source = %settings.source, kernel = %features.kernel, attach = %features.attach,
        "policyd {} begins", env!("CARGO_PKG_VERSION"));
    if features.is_upgrade {
        warn!(
            "programs of another version stand at pods; they enforce what it left until the first image of this version"
        );
    }
    let observer = Observer::spawn(enforcer.events()?, Naming::new(&settings.node))?;
    let kernel = Kernel::spawn("datapath", enforcer)?;

    let (asking, requests) = Server::queue();
    let serving = tokio::spawn(server.serve(asking, observer.clone()));
    let (interfaces, trouble) = watch_interfaces();
    let changes = watch_source(&settings.source);
    let balancing = settings
        .balancing
        .clone()
        .map(|means| Balancing::begin(means, &settings.node, Arc::clone(&store), interfaces.clone()));
    // What is balanced again some day does not come after it.
    if balancing.is_none()
        && let Err(error) = store.forget_services()
    {
        warn!("the image of services that an earlier run kept is still there: {error}");
    }
    let mut daemon = Daemon::new(settings, store, kernel, observer, features, trouble, balancing);
    let ended = daemon.run(changes, interfaces, requests, stop).await;
    serving.abort();
    // The socket is gone when this returns.
    _ = serving.await;
    daemon.observer.end();
    if let Some(balancing) = daemon.balancing.take() {
        balancing.end().await;
    }
    info!("policyd ends; enforcement stays in place, as long as its pins do");
    ended
}

/// Tells of the source's changes, once at the beginning.
fn watch_source(source: &Source) -> mpsc::Receiver<()> {
    let (tell, changes) = mpsc::channel(1);
    let source = source.clone();
    tokio::spawn(async move {
        let mut watch = source.watch();
        while tell.send(()).await.is_ok() {
            watch.changed().await;
        }
    });
    changes
}

type Trouble = watch::Receiver<Option<String>>;

/// Tells of this node's interfaces, and why they are not known.
fn watch_interfaces() -> (watch::Receiver<Option<Interfaces>>, Trouble) {
    let (tell, interfaces) = watch::channel(None);
    let (complain, trouble) = watch::channel(None);
    tokio::spawn(async move {
        while !tell.is_closed() {
            let ended = netlink::watch(&tell, || _ = complain.send_replace(None)).await;
            if let Err(error) = &ended {
                warn!(%error, "this node's interfaces are not watched");
            }
            complain.send_replace(ended.err().map(|error| error.to_string()));
            sleep(FIRST_RETRY).await;
        }
    });
    (interfaces, trouble)
}

/// An image that is, or is about to be, in force, and who is who under it.
#[derive(Clone, Debug)]
struct Target {
    image: Arc<[u8]>,
    legend: Arc<Legend>,
    roster: Arc<Roster>,
    /// When this daemon put it in force.
    since: Option<SystemTime>,
    /// It came from disk, and no source has said so yet.
    is_restored: bool,
}

/// What was read from the source last.
#[derive(Debug, Default)]
struct LastRead {
    at: Option<SystemTime>,
    took: Option<Duration>,
    is_good: bool,
    findings: Findings,
}

/// What the kernel counted last.
#[derive(Debug, Default)]
struct Measured {
    counters: Counters,
    sizes: Sizes,
    conntrack: ConntrackReport,
    trouble: Option<String>,
}

struct Daemon {
    settings: Settings,
    store: Arc<Store>,
    kernel: Kernel,
    observer: Observer,
    features: Features,
    balancing: Option<Balancing>,
    began: Instant,

    /// What to enforce.
    target: Option<Target>,
    /// What was kept on disk, until a source has answered.
    fallback: Option<Target>,
    /// The newest cluster, for flows.
    cluster: Option<Arc<Cluster>>,
    registrations: Registrations,
    /// Interfaces that were unregistered and from which programs are to be taken.
    released: BTreeSet<u32>,
    interfaces: Option<Interfaces>,
    interface_trouble: Trouble,

    /// What the kernel holds, as far as is known; `None` until it was asked.
    believed: Option<State>,
    wanted: Wanted,
    /// Names of the newest images, the newest first.
    legends: VecDeque<Arc<Legend>>,
    tally: Tally,
    measured: Measured,

    work: JoinSet<Done>,
    /// The kernel is being changed or compared.
    is_applying: bool,
    /// Something was wanted meanwhile.
    is_stale: bool,
    /// The kernel was once told of everybody, and has nothing of another version.
    has_told_all: bool,
    is_reading: bool,
    /// The source changed meanwhile.
    is_read_stale: bool,
    is_sweeping: bool,
    is_measuring: bool,
    is_keeping: bool,
    /// What is on disk: the image, and who is who.
    kept: (Option<u64>, Option<Arc<Roster>>, Registrations),
    last_read: LastRead,
    /// Steps that failed the last time, and why.
    failures: Vec<String>,
    keep_failure: Option<String>,
    retry: Option<(Instant, Duration)>,
    waiting: requests::Waiting,
}

/// What is done.
enum Done {
    Installed(Result<State, DatapathError>),
    Read(Box<Taken>),
    Applied(Box<Applied>),
    Swept(Result<ConntrackReport, DatapathError>),
    Measured(Box<Result<(Counters, Sizes), DatapathError>>),
    Kept(Box<Kept>),
    ToldAll(Result<(), DatapathError>),
    Answered,
    KernelGone,
}

/// What was to be kept on disk.
struct Kept {
    image: Option<u64>,
    roster: Option<Arc<Roster>>,
    registrations: Registrations,
    failure: Option<String>,
}

impl Daemon {
    fn new(
        settings: Settings,
        store: Arc<Store>,
        kernel: Kernel,
        observer: Observer,
        features: Features,
        interface_trouble: Trouble,
        balancing: Option<Balancing>,
    ) -> Self {
        Daemon {
            settings,
            store,
            kernel,
            observer,
            features,
            balancing,
            began: Instant::now(),
            target: None,
            fallback: None,
            cluster: None,
            registrations: Registrations::default(),
            released: BTreeSet::new(),
            interfaces: None,
            interface_trouble,
            believed: None,
            wanted: Wanted::default(),
            legends: VecDeque::new(),
            tally: Tally::default(),
            measured: Measured::default(),
            work: JoinSet::new(),
            is_applying: false,
            is_stale: false,
            has_told_all: false,
            is_reading: false,
            is_read_stale: false,
            is_sweeping: false,
            is_measuring: false,
            is_keeping: false,
            kept: Default::default(),
            last_read: LastRead::default(),
            failures: Vec::new(),
            keep_failure: None,
            retry: None,
            waiting: requests::Waiting::default(),
        }
    }

    async fn run(
        &mut self,
        mut changes: mpsc::Receiver<()>,
        mut interfaces: watch::Receiver<Option<Interfaces>>,
        mut requests: mpsc::Receiver<Asked>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), DaemonError> {
        self.restore();
        self.compare(true);
        self.sweep();
        let mut ticks = [RECONCILE, SWEEP, HARVEST].map(|period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.reset();
            ticks
        });
        let [reconcile, sweep, harvest] = &mut ticks;
        let mut stop = std::pin::pin!(stop);
        loop {
            let retry = self.retry.map(|(at, _)| at);
            tokio::select! {
                () = &mut stop => {
                    self.finish_keeping().await;
                    return Ok(());
                }
                Some(()) = changes.recv() => self.read(),
                Ok(()) = interfaces.changed() => {
                    self.interfaces.clone_from(&interfaces.borrow_and_update());
                    self.converge();
                }
                Some(asked) = requests.recv() => self.answer(asked),
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.done(done)?,
                    Err(failed) => return Err(DaemonError::Thread(io::Error::other(failed))),
                },
                _ = reconcile.tick() => self.compare(false),
                _ = sweep.tick() => self.sweep(),
                _ = harvest.tick() => self.measure(),
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                    if let Some((at, _)) = &mut self.retry {
                        *at = Instant::now() + RECONCILE;
                    }
                    self.converge();
                }
            }
        }
    }

    /// Waits for what is being written to the disk, so that the next daemon finds the folder whole and free.
    async fn finish_keeping(&mut self) {
        while self.is_keeping {
            match self.work.join_next().await {
                Some(Ok(Done::Kept(kept))) => self.has_kept(*kept),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Takes up what was kept on disk.
    fn restore(&mut self) {
        let (Stored { image, roster, registrations }, findings) = self.store.load();
        for finding in &findings {
            error!("{finding}");
        }
        self.registrations = registrations.clone();
        let roster = roster.filter(|roster| roster.node == self.settings.node).map(Arc::new);
        // Opened once already, so this does not fail.
        let legend =
            image.as_ref().and_then(|image| Image::open(image).ok()).map(|image| Legend::new(&image));
        if let (Some(image), Some(legend), Some(roster)) = (image, legend, roster) {
            self.kept = (Some(legend.checksum), Some(Arc::clone(&roster)), registrations);
            let legend = Arc::new(legend);
            self.fallback = Some(Target { image, legend, roster, since: None, is_restored: true });
        }
    }

    /// Enforces what was kept on disk, once it is known that the kernel has lost it or holds the same: another image that it holds is
    /// newer, and could not be kept.
    fn fall_back(&mut self) {
        let Some(believed) = &self.believed else { return };
        let kept = self.fallback.as_ref().map(|target| target.legend.checksum);
        if believed.image.is_some() && believed.image != kept {
            return;
        }
        if let (None, Some(target)) = (&self.target, self.fallback.take()) {
            info!(image = %checksum(target.legend.checksum), "the last good image is enforced until the source answers");
            self.aim(target);
        }
    }

    /// Has another image, or others under it, enforced.
    fn aim(&mut self, target: Target) {
        self.observer.rename(|naming| {
            naming.add_legend(Arc::clone(&target.legend));
            naming.set_roster(&target.roster);
        });
        self.legends.retain(|legend| legend.checksum != target.legend.checksum);
        self.legends.push_front(Arc::clone(&target.legend));
        self.legends.truncate(LEGENDS);
        self.target = Some(target);
        self.converge();
    }

    fn read(&mut self) {
        if std::mem::replace(&mut self.is_reading, true) {
            self.is_read_stale = true;
            return;
        }
        let (source, node) = (self.settings.source.clone(), self.settings.node.clone());
        let identities = self.store.identities();
        let last = self.target.as_ref().or(self.fallback.as_ref());
        let last = last
            .map(|target| LastGood { image: Arc::clone(&target.image), roster: Arc::clone(&target.roster) });
        let ear = self.balancing.as_ref().map(Balancing::ear);
        self.work.spawn_blocking(move || {
            // Services go their own way at once.
            let mut read = |project: &Project| ear.iter().for_each(|ear| ear.hear(project));
            Done::Read(Box::new(snapshot::take(&source, &node, &identities, last.as_ref(), &mut read)))
        });
    }

    fn done(&mut self, done: Done) -> Result<(), DaemonError> {
        match done {
            Done::KernelGone => return Err(KernelGone.into()),
            Done::Installed(installed) => self.compared(installed),
            Done::Read(taken) => {
                self.is_reading = false;
                self.last_read.at = Some(SystemTime::now());
                match *taken {
                    Taken::Good(snapshot) => self.read_good(snapshot),
                    Taken::Bad(refusal) => self.read_bad(refusal),
                }
                if std::mem::take(&mut self.is_read_stale) {
                    self.read();
                }
            }
            Done::Applied(applied) => self.applied(*applied),
            Done::Swept(swept) => {
                self.is_sweeping = false;
                match swept {
                    Ok(report) => self.measured.conntrack = report,
                    Err(error) => self.measured.trouble = Some(error.to_string()),
                }
            }
            Done::Measured(measured) => self.measured(*measured),
            Done::Kept(kept) => self.has_kept(*kept),
            Done::ToldAll(told) => self.told_all(told),
            Done::Answered => {}
        }
        Ok(())
    }

    fn read_good(&mut self, snapshot: Snapshot) {
        let Snapshot { image, legend, cluster, roster, warnings, took } = snapshot;
        for warning in warnings.lines.iter().filter(|line| !self.last_read.findings.lines.contains(line)) {
            warn!("{warning}");
        }
        self.last_read =
            LastRead { at: self.last_read.at, took: Some(took), is_good: true, findings: warnings };
        self.cluster = Some(cluster);
        let before =
            self.target.as_ref().or(self.fallback.as_ref()).map_or(0, |target| target.legend.policies);
        if legend.policies == 0 && before > 0 {
            warn!(
                before,
                "the source has no policies any more: every pod is open, as Kubernetes has it without policy"
            );
        }
        self.fallback = None;
        let same = self.target.take().filter(|target| target.legend.checksum == legend.checksum);
        let since = same.and_then(|target| target.since);
        self.aim(Target { image, legend, roster, since, is_restored: false });
    }

    fn read_bad(&mut self, refusal: Refusal) {
        let Refusal { findings, cluster, roster } = refusal;
        for finding in &findings.lines {
            error!("{finding}");
        }
        if findings.more > 0 {
            error!("and {} more", findings.more);
        }
        let stays = if self.target.is_some() || self.fallback.is_some() {
            "the last good image stays in force"
        } else {
            "there is no good image yet"
        };
        error!(source = %self.settings.source, "the source is refused; {stays}");
        self.last_read = LastRead { at: self.last_read.at, took: None, is_good: false, findings };
        if let Some(cluster) = cluster {
            self.cluster = Some(cluster);
        }
        self.fall_back();
        if let (Some(target), Some(roster)) = (self.target.clone(), roster) {
            self.aim(Target { roster, ..target });
        }
    }
}

/// A checksum as people see it.
fn checksum(checksum: u64) -> String {
    format!("{checksum:016x}")
}

#[cfg(test)]
mod tests;
