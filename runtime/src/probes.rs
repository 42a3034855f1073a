//! Health checks: backends of services are asked again and again whether they are there, and those that are not are told.
//!
//! ```text
//! cluster ─ Plan::of ─ set ─> rounds (who is due, pure) ─> asking (sockets) ─> health (thresholds, pure) ─> unfit, told by `changed`
//! ```
//!
//! Invariants: so many checks at most are under way at once; a backend is asked by one at a time; checks are spread over their interval by the
//! backend, the same after every start; a backend that was never asked is fit. What is unfit is an input of the compiler
//! ([0018](../../../docs/decisions/0018-a-balancer-without-a-cluster.md)).
//!
//! Not here: what becomes of unfit backends (the compiler's `services::Unfit`), readiness as a cluster tells it, and ways to a backend other than its own
//! address: a check does not go through the tunnel that packets to it may take.

mod asking;
mod health;
mod plan;
mod rounds;

pub use asking::Failure;
pub use plan::{MOST_BACKENDS, Plan, Target};

use asking::Answer;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rounds::{Rounds, Turn};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use weir_compiler::services::Unfit;

/// Checks under way at once: sockets that are open for it.
const AT_ONCE: usize = 256;

/// The checks that run. They end with this value.
#[derive(Debug)]
pub struct Probes {
    plans: watch::Sender<Arc<Plan>>,
    found: watch::Receiver<Arc<Found>>,
}

/// What was found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Backends that failed, for the compiler.
    pub unfit: Unfit,
    /// The same for people, each with the failure that decided.
    pub failures: Vec<(Arc<Target>, Failure)>,
}

impl Probes {
    /// Begins to check, nobody at first. Must be called on an executor.
    pub fn spawn() -> Self {
        Probes::asking_by(|target, check| async move { asking::ask(&target, &check).await })
    }

    fn asking_by<A>(ask: impl Fn(Arc<Target>, Arc<plan::HealthCheck>) -> A + Send + 'static) -> Self
    where
        A: Future<Output = Answer> + Send + 'static,
    {
        let (plans, planned) = watch::channel(Arc::default());
        let (tell, found) = watch::channel(Arc::default());
        tokio::spawn(run(planned, tell, ask));
        Probes { plans, found }
    }

    /// Says who is to be checked from now on. What is known of a backend that stays is kept.
    pub fn set(&self, plan: Arc<Plan>) {
        if plan.left_out > 0 {
            warn!("{} backends have no health check: there is room for {MOST_BACKENDS}", plan.left_out);
        }
        self.plans.send_replace(plan);
    }

    /// Waits until other backends are unfit than when this was last waited for. Nothing is lost if the wait is given up.
    pub async fn changed(&mut self) {
        if self.found.changed().await.is_err() {
            // Only if the task is gone, with its executor.
            std::future::pending::<()>().await;
        }
    }

    /// Who is unfit now, and why.
    pub fn found(&self) -> Arc<Found> {
        Arc::clone(&self.found.borrow())
    }

    /// How many backends are checked.
    pub fn checked(&self) -> usize {
        self.plans.borrow().len()
    }
}

/// Asks whoever is due, until nobody can set a plan any more.
async fn run<A>(
    mut planned: watch::Receiver<Arc<Plan>>,
    tell: watch::Sender<Arc<Found>>,
    ask: impl Fn(Arc<Target>, Arc<plan::HealthCheck>) -> A,
) where
    A: Future<Output = Answer>,
{
    let began = Instant::now();
    let mut rounds = Rounds::default();
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < AT_ONCE
            && let Some(turn) = rounds.take(began.elapsed())
        {
            let answer = ask(Arc::clone(&turn.target), Arc::clone(&turn.check));
            under_way.push(async move { (turn, answer.await) });
        }
        let is_full = under_way.len() >= AT_ONCE;
        let next = rounds.next_due().filter(|_| !is_full).map(|due| began + due);
        tokio::select! {
            changed = planned.changed() => {
                if changed.is_err() {
                    return;
                }
                let plan = Arc::clone(&planned.borrow_and_update());
                rounds.set(&plan, began.elapsed());
                publish(&rounds, &tell);
            }
            Some((turn, answer)) = under_way.next() => {
                if hear(&mut rounds, &turn, answer, began) {
                    publish(&rounds, &tell);
                }
            }
            () = until(next) => {}
        }
    }
}

async fn until(next: Option<Instant>) {
    match next {
        Some(next) => sleep_until(next).await,
        None => std::future::pending().await,
    }
}

/// Takes an answer; whether it changes who is unfit.
fn hear(rounds: &mut Rounds, turn: &Turn, answer: Answer, began: Instant) -> bool {
    let Some(is_fit) = rounds.hear(turn, answer.clone(), began.elapsed()) else { return false };
    match answer {
        Answer::Failed(failure) if !is_fit => info!("{} is unfit: {failure}", turn.target),
        _ => info!("{} is fit again", turn.target),
    }
    true
}

fn publish(rounds: &Rounds, tell: &watch::Sender<Arc<Found>>) {
    let found = rounds.found();
    tell.send_if_modified(|known| {
        let is_other = known.unfit != found.unfit;
        if is_other {
            *known = Arc::new(found);
        }
        is_other
    });
}

#[cfg(test)]
mod tests;
