//! One way from services to the kernel: the flows on record, the compiler, the disk, the swap. One is under way at a time.
//!
//! ```text
//! flows ─ compile ─┬─ the same image: nothing to do
//!                  ├─ nothing to balance: programs withdrawn, images forgotten
//!                  └─ keep the next image ─ install ─ it is the one in force
//! ```
//!
//! Whatever is cut short leaves an image in force that is on disk, so that the next one is compiled after it. Not here: when it is done, and
//! what follows ([`super::part`]).

use super::ages::Ages;
use super::health::{HealthCheck, checks};
use super::services::{Compiled, Services};
use super::{Open, Settings};
use crate::balancer::{Balancer, FlowOnRecord};
use crate::kernel::Kernel;
use crate::snapshot::{Findings, chain};
use crate::status::ServiceContents;
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::info;
use weir_abi::services::{FrontendKind, ServiceImage};
use weir_compiler::services::{Kept, Recorded, settles_any};

/// A way to what balances.
pub(super) type Way = Kernel<dyn Balancer>;

/// An image in force.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) checksum: u64,
    /// `None`: only the kernel has it.
    pub(super) image: Option<Arc<[u8]>>,
    /// When this daemon put it in force.
    pub(super) since: Option<SystemTime>,
    /// It is of an earlier run, and no source has said so yet.
    pub(super) is_restored: bool,
    pub(super) contents: Option<ServiceContents>,
    pub(super) checks: Vec<HealthCheck>,
    ages: Ages,
}

impl InForce {
    /// What is told of an image that is in force; what was unsettled counts from now.
    fn of(image: &Arc<[u8]>, opened: &ServiceImage<'_>) -> InForce {
        InForce {
            checksum: opened.header().checksum,
            image: Some(Arc::clone(image)),
            since: None,
            is_restored: false,
            contents: Some(contents(opened)),
            checks: checks(opened),
            ages: Ages::default().after(None, opened, Instant::now()),
        }
    }

    /// One of which nothing but its checksum is left.
    fn lost(checksum: u64) -> InForce {
        InForce {
            checksum,
            image: None,
            since: None,
            is_restored: true,
            contents: None,
            checks: Vec::new(),
            ages: Ages::default(),
        }
    }

    pub(super) fn has_unsettled(&self) -> bool {
        self.contents.is_some_and(|contents| contents.unsettled > 0)
    }
}

fn contents(image: &ServiceImage<'_>) -> ServiceContents {
    let of_services = |kind| !matches!(kind, FrontendKind::Address | FrontendKind::NodeAddress);
    let mut backends = BTreeSet::new();
    for frontend in image.frontends() {
        backends.extend(frontend.backends().map(|backend| backend.number));
    }
    let tables = (0..).map_while(|number| image.table(number));
    let (slots, unsettled) = tables.fold((0, 0), |(slots, unsettled), table| {
        let marked = if table.previous_len() == 0 { 0 } else { table.slots().filter(|slot| slot.1).count() };
        (slots + table.slots().count(), unsettled + marked)
    });
    ServiceContents {
        services: image.services().len(),
        frontends: image.frontends().filter(|frontend| of_services(frontend.kind)).count(),
        backends: backends.len(),
        slots,
        unsettled,
        bytes: image.bytes().len(),
    }
}

/// What is needed on the way.
pub(super) struct Errand {
    pub(super) way: Option<Way>,
    pub(super) open: Open,
    pub(super) store: Arc<Store>,
    pub(super) settings: Settings,
    pub(super) node: String,
    pub(super) services: Arc<Services>,
    pub(super) in_force: Option<Arc<InForce>>,
    /// Only to let slots settle.
    pub(super) to_settle: bool,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Brought {
    /// The way, opened now or before.
    pub(super) way: Option<Way>,
    /// What is in force, as far as is known; `None`: nothing is.
    pub(super) in_force: Option<Arc<InForce>>,
    /// What was compiled is in force.
    pub(super) is_done: bool,
    /// The services make no image, whatever is tried again.
    pub(super) refused: Option<String>,
    /// What failed and may be tried again.
    pub(super) trouble: Option<String>,
    /// The image in force is not on disk.
    pub(super) keep_failure: Option<String>,
    /// What is probably not meant; `None`: it was not asked.
    pub(super) warnings: Option<Findings>,
}

impl Brought {
    fn so_far(way: Option<Way>, in_force: Option<Arc<InForce>>) -> Self {
        let (refused, trouble, keep_failure, warnings) = (None, None, None, None);
        Brought { way, in_force, is_done: false, refused, trouble, keep_failure, warnings }
    }

    fn failed(self, trouble: impl Into<String>) -> Self {
        Brought { trouble: Some(trouble.into()), ..self }
    }

    fn done(self) -> Self {
        Brought { is_done: true, ..self }
    }
}

/// Opens a way.
async fn opened(open: Open) -> Result<Way, String> {
    let balancer = spawn_blocking(move || open()).await.map_err(|gone| gone.to_string())?;
    let balancer = balancer.map_err(|error| chain(&error))?;
    Kernel::spawn("balancer", balancer).map_err(|error| error.to_string())
}

/// Takes up what an earlier run left: what is in force, and what the disk has of it. A kernel that has lost it is given the last one again.
pub(super) async fn take_up(open: Open, store: Arc<Store>) -> Brought {
    let nothing = Brought::so_far(None, None);
    let loading = Arc::clone(&store);
    let (images, findings) = match spawn_blocking(move || loading.load_services()).await {
        Ok(loaded) => loaded,
        Err(gone) => return nothing.failed(gone.to_string()),
    };
    let nothing = Brought { keep_failure: findings.into_iter().next(), ..nothing };
    let Some(likeliest) = images.first().cloned() else { return nothing.done() };
    let way = match opened(open).await {
        Ok(way) => way,
        Err(why) => return nothing.failed(format!("cannot open what balances: {why}")),
    };
    let known = Brought { way: Some(way.clone()), ..nothing };
    let checksum = match way.call(|balancer| balancer.image_in_force()).await {
        Ok(checksum) => checksum,
        Err(gone) => return known.failed(gone.to_string()),
    };
    let told = |image: &Arc<[u8]>| {
        // Opened once already, so this does not fail.
        let opened = ServiceImage::open(image).ok()?;
        Some(InForce { is_restored: true, ..InForce::of(image, &opened) })
    };
    let Some(checksum) = checksum else {
        let Some(in_force) = told(&likeliest) else { return known.done() };
        let installed = way.call(move |balancer| balancer.install(&likeliest)).await;
        return match installed
            .map_err(|gone| gone.to_string())
            .and_then(|done| done.map_err(|error| chain(&error)))
        {
            Ok(_) => {
                info!(image = %format_args!("{:016x}", in_force.checksum), "the last services are in force until the source answers");
                Brought { in_force: Some(Arc::new(in_force)), ..known }.done()
            }
            Err(why) => known.failed(format!("cannot put the last services in force: {why}")),
        };
    };
    let in_force = images.iter().filter_map(told).find(|image| image.checksum == checksum);
    let in_force = in_force.unwrap_or_else(|| InForce::lost(checksum));
    Brought { in_force: Some(Arc::new(in_force)), ..known }.done()
}

/// What the compiler says.
enum Said {
    /// No slot can settle now.
    NothingSettles,
    Compiled(Compiled),
    Refused(String),
}

/// Brings services into force.
pub(super) async fn bring(errand: Errand) -> Brought {
    let Errand { way, open, store, settings, node, services, in_force, to_settle } = errand;
    let so_far = Brought::so_far(way.clone(), in_force.clone());
    let records = match records(way.as_ref(), in_force.as_deref()).await {
        Ok(records) => records,
        Err(why) if to_settle => return so_far.failed(why),
        // Without them nothing settles, and nothing is lost by that.
        Err(_) => None,
    };
    let idle = settings.idle;
    let last = in_force.clone();
    let compiling =
        spawn_blocking(move || compile(&services, &node, last.as_deref(), records, idle, to_settle));
    let compiled = match compiling.await {
        Ok(Said::NothingSettles) => return so_far.done(),
        Ok(Said::Refused(why)) => return Brought { refused: Some(why), ..so_far },
        Ok(Said::Compiled(compiled)) => compiled,
        Err(gone) => return so_far.failed(gone.to_string()),
    };
    let so_far = Brought { warnings: Some(compiled.warnings.clone()), ..so_far };
    if compiled.is_empty {
        return withdraw(so_far, store).await;
    }
    if let Some(last) = in_force.as_deref().filter(|last| last.checksum == compiled.checksum)
        && last.image.is_some()
    {
        let confirmed = InForce { is_restored: false, ..last.clone() };
        return Brought { in_force: Some(Arc::new(confirmed)), ..so_far }.done();
    }
    install(so_far, open, store, compiled).await
}

/// The flows on record, if any slot waits for them.
async fn records(way: Option<&Way>, in_force: Option<&InForce>) -> Result<Option<Vec<FlowOnRecord>>, String> {
    let Some(way) = way.filter(|_| in_force.is_some_and(InForce::has_unsettled)) else { return Ok(None) };
    let flows = way.call(|balancer| balancer.flows()).await.map_err(|gone| gone.to_string())?;
    flows.map(Some).map_err(|error| format!("cannot read the flows on record: {}", chain(&error)))
}

fn compile(
    services: &Services,
    node: &str,
    last: Option<&InForce>,
    records: Option<Vec<FlowOnRecord>>,
    idle: std::time::Duration,
    to_settle: bool,
) -> Said {
    let image = last.and_then(|last| ServiceImage::open(last.image.as_deref()?).ok());
    let compiled = match (image, last, records) {
        (Some(image), Some(last), Some(records)) => {
            let kept = Kept::new(&image, records.iter().map(recorded));
            let young = last.ages.young(&image, idle, Instant::now());
            let keeps = |table, slot| young.contains(&table) || kept.keeps(table, slot);
            if to_settle && !settles_any(&image, &keeps) {
                return Said::NothingSettles;
            }
            services.compile(node, Some(image), Some(&keeps))
        }
        (image, ..) => services.compile(node, image, None),
    };
    compiled.map_or_else(Said::Refused, Said::Compiled)
}

fn recorded(flow: &FlowOnRecord) -> Recorded {
    let FlowOnRecord { client, client_port, address, port, protocol, backend } = *flow;
    Recorded { client, client_port, address, port, protocol, backend }
}

async fn withdraw(so_far: Brought, store: Arc<Store>) -> Brought {
    if let Some(way) = &so_far.way
        && so_far.in_force.is_some()
    {
        let withdrawn = way.call(|balancer| balancer.withdraw()).await;
        let withdrawn =
            withdrawn.map_err(|gone| gone.to_string()).and_then(|done| done.map_err(|error| chain(&error)));
        if let Err(why) = withdrawn {
            return so_far.failed(format!("cannot take balancing out of the way: {why}"));
        }
        info!("there is nothing to balance any more, and nothing of balancing in a packet's way");
    }
    let forgotten = spawn_blocking(move || store.forget_services()).await;
    let keep_failure = forgotten.ok().and_then(|forgotten| forgotten.err()).map(|error| chain(&error));
    Brought { in_force: None, keep_failure, ..so_far }.done()
}

async fn install(so_far: Brought, open: Open, store: Arc<Store>, compiled: Compiled) -> Brought {
    let way = match so_far.way.clone() {
        Some(way) => way,
        None => match opened(open).await {
            Ok(way) => way,
            Err(why) => return so_far.failed(format!("cannot open what balances: {why}")),
        },
    };
    let so_far = Brought { way: Some(way.clone()), ..so_far };
    let Compiled { image, checksum, took, .. } = compiled;
    let (keeping, next) = (Arc::clone(&store), Arc::clone(&image));
    let kept = spawn_blocking(move || keeping.keep_next_services(&next)).await;
    // A full disk is no reason to balance as yesterday.
    let keep_failure = kept.ok().and_then(|kept| kept.err()).map(|error| chain(&error));
    let is_kept = keep_failure.is_none();
    let bytes = Arc::clone(&image);
    let done = way.call(move |balancer| {
        let installed = balancer.install(&bytes);
        (installed, balancer.image_in_force())
    });
    let (installed, now) = match done.await {
        Ok(done) => done,
        Err(gone) => return so_far.failed(gone.to_string()),
    };
    let so_far = Brought { keep_failure, ..so_far };
    if now != Some(checksum) {
        let why = installed.err().map_or_else(|| "the kernel has another".to_owned(), |error| chain(&error));
        return so_far.failed(format!("cannot put the services in force: {why}"));
    }
    let last = so_far.in_force.clone();
    let telling = spawn_blocking(move || {
        let opened = ServiceImage::open(&image).ok()?;
        let before = last.as_deref().and_then(|last| ServiceImage::open(last.image.as_deref()?).ok());
        let before_ages = last.as_deref().map(|last| last.ages.clone()).unwrap_or_default();
        let ages = before_ages.after(before.as_ref(), &opened, Instant::now());
        Some(InForce { since: Some(SystemTime::now()), ages, ..InForce::of(&image, &opened) })
    });
    let in_force = match telling.await.ok().flatten() {
        Some(in_force) => in_force,
        None => InForce::lost(checksum),
    };
    let keep_failure =
        match spawn_blocking(move || if is_kept { store.services_in_force() } else { Ok(()) }).await {
            Ok(Err(error)) => Some(chain(&error)),
            _ => so_far.keep_failure.clone(),
        };
    if let (Ok(done), Some(contents)) = (&installed, &in_force.contents) {
        info!(image = %format_args!("{checksum:016x}"), services = contents.services, frontends = contents.frontends,
            backends = contents.backends, unsettled = contents.unsettled, bytes = done.bytes, class = done.class,
            compiled = ?took, in_force = ?done.in_force, "services are in force");
    }
    let trouble = installed.err().map(|error| chain(&error));
    Brought { in_force: Some(Arc::new(in_force)), trouble, keep_failure, ..so_far }.done()
}
