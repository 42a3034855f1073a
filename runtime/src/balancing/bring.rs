//! One way from services to the kernel: the flows on record, the compiler, the disk, the swap. One is under way at a time.
//!
//! ```text
//! flows ─ compile ─┬─ the same image: nothing to do
//!                  ├─ nothing to balance: programs withdrawn, images forgotten
//!                  └─ keep the next image ─ flows again ─ install ─ it is the one in force
//! ```
//!
//! Where flows have come meanwhile to slots that were let settle, none settles this time. Whatever is cut short leaves an image in force
//! that is on disk, so that the next one is compiled after it. Not here: when it is done, and
//! what follows ([`super::part`]).

use super::in_force::InForce;
use super::services::{Compiled, Services};
use super::{Clear, Means, Open};
use crate::balancer::Balancer;
use crate::kernel::Kernel;
use crate::snapshot::{Findings, chain};
use crate::store::Store;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::info;
use weir_abi::services::ServiceImage;
use weir_compiler::services::{FlowOnRecord, Kept, settles_any};

/// A way to what balances.
pub(super) type Way = Kernel<dyn Balancer>;

/// What is needed on the way.
pub(super) struct Errand {
    pub(super) way: Option<Way>,
    pub(super) means: Means,
    pub(super) store: Arc<Store>,
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
        let has_unsettled = in_force.has_unsettled();
        let installed = way.call(move |balancer| {
            // Nobody knows of flows from before, and in time nobody is to be taken for one.
            if has_unsettled {
                balancer.unsettle()?;
            }
            balancer.install(&likeliest)
        });
        let installed = installed.await;
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
    Compiled(Compiled, Option<Settling>),
    Refused(String),
}

/// What was known of flows when slots were let settle.
struct Settling {
    /// The image in force.
    image: Arc<[u8]>,
    kept: Kept,
    /// Tables of which nothing settles.
    young: HashSet<u32>,
}

impl Settling {
    fn keeps(&self, table: u32, slot: u32) -> bool {
        self.young.contains(&table) || self.kept.keeps(table, slot)
    }

    /// Whether flows have come since that keep a slot which was let settle: they would move.
    fn is_overtaken(&self, flows: &[FlowOnRecord]) -> bool {
        let Ok(image) = ServiceImage::open(&self.image) else { return true };
        let kept = Kept::new(&image, flows.iter().copied());
        kept.iter().any(|(table, slot)| !self.keeps(table, slot))
    }
}

/// Brings services into force.
pub(super) async fn bring(errand: Errand) -> Brought {
    let so_far = Brought::so_far(errand.way.clone(), errand.in_force.clone());
    match records(errand.way.as_ref(), errand.in_force.as_deref()).await {
        Ok(records) => match try_once(&errand, so_far, records).await {
            Ok(brought) => brought,
            // There is another time to settle; what is new is not to wait for it.
            Err(so_far) if errand.to_settle => so_far.done(),
            Err(so_far) => without_settling(&errand, so_far).await,
        },
        Err(why) if errand.to_settle => so_far.failed(why),
        Err(_) => without_settling(&errand, so_far).await,
    }
}

/// Without records nothing settles, and nothing is lost by that.
async fn without_settling(errand: &Errand, so_far: Brought) -> Brought {
    try_once(errand, so_far, None).await.unwrap_or_else(Brought::done)
}

/// One try.
///
/// # Errors
/// Flows have come meanwhile to slots that were let settle; nothing was done.
async fn try_once(
    errand: &Errand,
    so_far: Brought,
    records: Option<Vec<FlowOnRecord>>,
) -> Result<Brought, Brought> {
    let Errand { means, store, services, in_force, to_settle, .. } = errand;
    let (services, last, idle, to_settle) =
        (Arc::clone(services), in_force.clone(), means.settings.idle, *to_settle);
    let compiling = spawn_blocking(move || compile(&services, last.as_deref(), records, idle, to_settle));
    let (compiled, settling) = match compiling.await {
        Ok(Said::NothingSettles) => return Ok(so_far.done()),
        Ok(Said::Refused(why)) => return Ok(Brought { refused: Some(why), ..so_far }),
        Ok(Said::Compiled(compiled, settling)) => (compiled, settling),
        Err(gone) => return Ok(so_far.failed(gone.to_string())),
    };
    let so_far = Brought { warnings: Some(compiled.warnings.clone()), ..so_far };
    if compiled.is_empty {
        return Ok(withdraw(so_far, Arc::clone(&means.clear), Arc::clone(store)).await);
    }
    if let Some(last) = in_force.as_deref().filter(|last| last.checksum == compiled.checksum)
        && last.image.is_some()
    {
        let confirmed = InForce { is_restored: false, ..last.clone() };
        return Ok(Brought { in_force: Some(Arc::new(confirmed)), ..so_far }.done());
    }
    install(so_far, Arc::clone(&means.open), Arc::clone(store), compiled, settling).await
}

/// The flows on record, if any slot waits for them.
async fn records(way: Option<&Way>, in_force: Option<&InForce>) -> Result<Option<Vec<FlowOnRecord>>, String> {
    let Some(way) = way.filter(|_| in_force.is_some_and(InForce::has_unsettled)) else { return Ok(None) };
    let flows = way.call(Balancer::flows).await.map_err(|gone| gone.to_string())?;
    flows.map(Some).map_err(|error| format!("cannot read the flows on record: {}", chain(&error)))
}

fn compile(
    services: &Services,
    last: Option<&InForce>,
    records: Option<Vec<FlowOnRecord>>,
    idle: Duration,
    to_settle: bool,
) -> Said {
    let bytes = last.and_then(|last| last.image.as_ref());
    let image = bytes.and_then(|bytes| ServiceImage::open(bytes).ok());
    let (compiled, settling) = match (image, bytes, last, records) {
        (Some(image), Some(bytes), Some(last), Some(records)) => {
            let kept = Kept::new(&image, records.iter().copied());
            let young = last.ages.young(&image, idle, Instant::now());
            let settling = Settling { image: Arc::clone(bytes), kept, young };
            let keeps = |table, slot| settling.keeps(table, slot);
            if to_settle && !settles_any(&image, &keeps) {
                return Said::NothingSettles;
            }
            (services.compile(Some(image), Some(&keeps)), Some(settling))
        }
        (image, ..) => (services.compile(image, None), None),
    };
    compiled.map_or_else(Said::Refused, |compiled| Said::Compiled(compiled, settling))
}

async fn withdraw(so_far: Brought, clear: Clear, store: Arc<Store>) -> Brought {
    let withdrawn = match &so_far.way {
        Some(way) => way.call(Balancer::withdraw).await.map_err(|gone| gone.to_string()),
        None => spawn_blocking(move || clear()).await.map_err(|gone| gone.to_string()),
    };
    if let Err(why) = withdrawn.and_then(|done| done.map_err(|error| chain(&error))) {
        return so_far.failed(format!("cannot take balancing out of the way: {why}"));
    }
    if so_far.in_force.is_some() {
        info!("there is nothing to balance any more, and nothing of balancing in a packet's way");
    }
    let forgotten = spawn_blocking(move || store.forget_services()).await;
    let keep_failure = forgotten.ok().and_then(Result::err).map(|error| chain(&error));
    Brought { in_force: None, keep_failure, ..so_far }.done()
}

async fn install(
    so_far: Brought,
    open: Open,
    store: Arc<Store>,
    compiled: Compiled,
    settling: Option<Settling>,
) -> Result<Brought, Brought> {
    let way = match so_far.way.clone() {
        Some(way) => way,
        None => match opened(open).await {
            Ok(way) => way,
            Err(why) => return Ok(so_far.failed(format!("cannot open what balances: {why}"))),
        },
    };
    let so_far = Brought { way: Some(way.clone()), ..so_far };
    let Compiled { image, checksum, took, .. } = compiled;
    let (keeping, next) = (Arc::clone(&store), Arc::clone(&image));
    let kept = spawn_blocking(move || keeping.keep_next_services(&next)).await;
    // A full disk is no reason to balance as yesterday.
    let keep_failure = kept.ok().and_then(Result::err).map(|error| chain(&error));
    let is_kept = keep_failure.is_none();
    let (bytes, last) = (Arc::clone(&image), so_far.in_force.clone());
    let next = Arc::clone(&image);
    let aged = spawn_blocking(move || {
        let opened = ServiceImage::open(&next).ok()?;
        let before = last.as_deref().and_then(|last| ServiceImage::open(last.image.as_deref()?).ok());
        let ages = last.as_deref().map(|last| last.ages.clone()).unwrap_or_default();
        Some(ages.after(before.as_ref(), &opened, Instant::now()))
    });
    let ages = aged.await.ok().flatten().unwrap_or_default();
    let has_grown = ages.has_grown;
    let done = way.call(move |balancer| {
        if let Some(settling) = settling {
            // A record that cannot be read is taken for one that keeps its slot.
            let is_overtaken = balancer.flows().map_or(true, |flows| settling.is_overtaken(&flows));
            if is_overtaken {
                return None;
            }
        }
        if has_grown && let Err(error) = balancer.unsettle() {
            return Some((Err(error), balancer.image_in_force()));
        }
        let installed = balancer.install(&bytes);
        Some((installed, balancer.image_in_force()))
    });
    let so_far = Brought { keep_failure, ..so_far };
    let (installed, now) = match done.await {
        Ok(Some(done)) => done,
        Ok(None) => return Err(so_far),
        Err(gone) => return Ok(so_far.failed(gone.to_string())),
    };
    if now != Some(checksum) {
        let why = installed.err().map_or_else(|| "the kernel has another".to_owned(), |error| chain(&error));
        return Ok(so_far.failed(format!("cannot put the services in force: {why}")));
    }
    let telling = spawn_blocking(move || {
        let opened = ServiceImage::open(&image).ok()?;
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
    Ok(Brought { in_force: Some(Arc::new(in_force)), trouble, keep_failure, ..so_far }.done())
}
