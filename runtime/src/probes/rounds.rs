//! Whose turn it is: every backend of the plan with what is known of it, and when it is asked next.
//!
//! Times are from the beginning of the checks. A backend's first turn comes within a second, and the others at its own place in the
//! interval, so that a
//! thousand backends of one service are not asked at once; who is late is asked as soon as there is room, the latest first. Not here:
//! sockets, clocks.

use super::Found;
use super::asking::Answer;
use super::health::Health;
use super::plan::{HealthCheck, Plan, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use weir_compiler::ir::protocol;
use weir_compiler::services::Unfit;

/// The first turn comes within so long.
const SOON: Duration = Duration::from_secs(1);

/// A question to be asked now.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) target: Arc<Target>,
    pub(super) check: Arc<HealthCheck>,
    /// Tells it from earlier questions, to a backend that was gone meanwhile.
    number: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    check: Arc<HealthCheck>,
    health: Health,
    due: Duration,
    /// When the turns of its interval begin, until the first is over.
    place: Option<Duration>,
    /// The question that is under way.
    asked: Option<u64>,
}

/// All backends.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    entries: BTreeMap<Arc<Target>, Entry>,
    /// Those that are not being asked, by when they are due.
    waiting: BTreeSet<(Duration, Arc<Target>)>,
    questions: u64,
}

impl Rounds {
    /// Takes another plan.
    pub(super) fn set(&mut self, plan: &Plan, now: Duration) {
        let waiting = &mut self.waiting;
        self.entries.retain(|target, entry| {
            let stays = plan.targets.contains_key(target);
            if !stays {
                waiting.remove(&(entry.due, Arc::clone(target)));
            }
            stays
        });
        for (target, check) in &plan.targets {
            let first = now + phase(target, check.interval.min(SOON));
            match self.entries.get_mut(target) {
                None => {
                    let place = Some(now + phase(target, check.interval));
                    let (check, health) = (Arc::clone(check), Health::default());
                    let entry = Entry { check, health, due: first, place, asked: None };
                    self.entries.insert(Arc::clone(target), entry);
                    self.waiting.insert((first, Arc::clone(target)));
                }
                Some(entry) if entry.check != *check => {
                    entry.check = Arc::clone(check);
                    entry.health.begin_anew();
                    if self.waiting.remove(&(entry.due, Arc::clone(target))) {
                        entry.due = entry.due.min(first);
                        self.waiting.insert((entry.due, Arc::clone(target)));
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// When somebody is due next.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// The question to whoever is due and has waited longest.
    pub(super) fn take(&mut self, now: Duration) -> Option<Turn> {
        if self.next_due()? > now {
            return None;
        }
        let (_, target) = self.waiting.pop_first()?;
        let entry = self.entries.get_mut(&target)?;
        self.questions += 1;
        entry.asked = Some(self.questions);
        Some(Turn { target, check: Arc::clone(&entry.check), number: self.questions })
    }

    /// Takes the answer to a question. If it changes what the backend is: whether that is fit.
    pub(super) fn hear(&mut self, turn: &Turn, answer: Answer, now: Duration) -> Option<bool> {
        let entry = self.entries.get_mut(&turn.target)?;
        if entry.asked != Some(turn.number) {
            return None;
        }
        entry.asked = None;
        // The check may be another one by now; what it says of the backend is true all the same.
        let changed = match answer {
            Answer::Passed => entry.health.hear(Ok(()), &entry.check),
            Answer::Failed(failure) => entry.health.hear(Err(failure), &entry.check),
            Answer::Unasked => false,
        };
        let (pause, interval) = (entry.health.pause(&entry.check), entry.check.interval);
        let next = match entry.place.take() {
            // Half an interval to one and a half after the first turn.
            Some(place) if pause == interval && place < entry.due + interval / 2 => place + interval,
            Some(place) if pause == interval => place,
            _ => entry.due + pause,
        };
        entry.due = next.max(now);
        self.waiting.insert((entry.due, Arc::clone(&turn.target)));
        changed.then(|| entry.health.is_fit())
    }

    /// Who is unfit.
    pub(super) fn found(&self) -> Found {
        let mut found = Found { unfit: Unfit::default(), failures: Vec::new() };
        for (target, entry) in self.entries.iter().filter(|(_, entry)| !entry.health.is_fit()) {
            let Target { namespace, service, address, port } = &**target;
            found.unfit.insert(namespace, service, (*address, *port, protocol::TCP));
            let failure = entry.health.failure().cloned();
            found.failures.extend(failure.map(|failure| (Arc::clone(target), failure)));
        }
        found
    }
}

/// A backend's place in an interval: by its name alone, so that it is the same after every start.
fn phase(target: &Target, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    let part = u128::from(hasher.finish() >> 32);
    let nanoseconds = (interval.as_nanos() * part) >> 32;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::Failure;
    use proptest::prelude::*;

    fn check(seconds: u64) -> Arc<HealthCheck> {
        let interval = Duration::from_secs(seconds);
        let timeout = Duration::from_secs(1);
        Arc::new(HealthCheck {
            interval,
            timeout,
            healthy: 1,
            unhealthy: 1,
            quarantine: Duration::ZERO,
            http: None,
        })
    }

    /// Backends 10.0.0.N, each with the seconds of its interval.
    fn plan(backends: &[(u8, u64)]) -> Plan {
        let target = |number| Target {
            namespace: "shop".to_owned(),
            service: "web".to_owned(),
            address: [10, 0, 0, number].into(),
            port: 80,
        };
        let targets = backends.iter().map(|&(number, seconds)| (Arc::new(target(number)), check(seconds)));
        Plan { targets: targets.collect(), left_out: 0 }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(Vec<(u8, u64)>),
        /// Time goes on.
        Wait(u64),
        Take,
        /// One that is under way is answered.
        Hear(prop::sample::Index, bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => prop::collection::vec((0..12u8, 1..4u64), 0..10).prop_map(Step::Set),
            3 => (1..1500u64).prop_map(Step::Wait),
            6 => Just(Step::Take),
            5 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, passed)| Step::Hear(which, passed)),
        ]
    }

    proptest! {
        /// Whatever comes in whatever order: everybody of the plan waits or is asked, by one question, and nobody else; no pause is
        /// shorter than the interval.
        #[test]
        fn everybody_has_a_turn_and_one_at_a_time(steps in prop::collection::vec(step(), 1..80)) {
            let (mut rounds, mut now, mut under_way) = (Rounds::default(), Duration::ZERO, Vec::<(Turn, bool)>::new());
            let mut wanted = Plan::default();
            for step in steps {
                match step {
                    Step::Set(backends) => {
                        wanted = plan(&backends);
                        rounds.set(&wanted, now);
                        // What was asked of one that is gone says nothing of one that comes back.
                        under_way.iter_mut().for_each(|(turn, counts)| *counts &= wanted.targets.contains_key(&turn.target));
                    }
                    Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
                    Step::Take => {
                        let due = rounds.next_due();
                        let turn = rounds.take(now);
                        prop_assert_eq!(turn.is_some(), due.is_some_and(|due| due <= now));
                        if let Some(turn) = turn {
                            prop_assert!(under_way.iter().all(|(other, counts)| !counts || other.target != turn.target));
                            under_way.push((turn, true));
                        }
                    }
                    Step::Hear(which, passed) if !under_way.is_empty() => {
                        let (turn, counts) = under_way.swap_remove(which.index(under_way.len()));
                        let before = rounds.found();
                        let answer = if passed { Answer::Passed } else { Answer::Failed(Failure::Late) };
                        let changed = rounds.hear(&turn, answer, now);
                        prop_assert_eq!(changed.is_some(), rounds.found().unfit != before.unfit);
                        if counts {
                            let Target { namespace, service, address, port } = &*turn.target;
                            let is_unfit = rounds.found().unfit.contains(namespace, service, (*address, *port, protocol::TCP));
                            prop_assert_eq!(is_unfit, !passed);
                        } else {
                            prop_assert_eq!(changed, None);
                        }
                    }
                    Step::Hear(..) => {}
                }
                let asked = under_way.iter().filter(|(_, counts)| *counts).count();
                prop_assert_eq!(rounds.entries.len(), wanted.len());
                prop_assert_eq!(rounds.waiting.len() + asked, wanted.len());
            }
        }
    }

    #[test]
    fn turns_are_soon_at_first_then_spread_over_the_interval_and_the_same_every_time() {
        let backends: Vec<(u8, u64)> = (0..100).map(|number| (number, 10)).collect();
        let mut rounds = Rounds::default();
        rounds.set(&plan(&backends), Duration::ZERO);
        assert!(rounds.waiting.iter().all(|(due, _)| *due < SOON));
        let mut again = Rounds::default();
        again.set(&plan(&backends), Duration::ZERO);
        assert_eq!(rounds.waiting, again.waiting);

        let answer = |rounds: &mut Rounds, until: Duration| {
            while let Some(due) = rounds.next_due().filter(|due| *due < until) {
                let turn = rounds.take(due).unwrap();
                rounds.hear(&turn, Answer::Passed, due);
            }
        };
        answer(&mut rounds, SOON);
        let dues: Vec<Duration> = rounds.waiting.iter().map(|(due, _)| *due).collect();
        assert!(dues.iter().all(|due| (5..16).contains(&due.as_secs())), "{dues:?}");
        // Ten are due in each second of an interval, more or less; and the next time at the same place.
        let in_second = |second| dues.iter().filter(|due| due.as_secs() % 10 == second).count();
        assert!((0..10).all(|second| (2..25).contains(&in_second(second))), "{dues:?}");
        answer(&mut rounds, Duration::from_secs(16));
        let places = |dues: &[Duration]| -> BTreeSet<u128> {
            dues.iter().map(|due| due.as_nanos() % Duration::from_secs(10).as_nanos()).collect()
        };
        let later: Vec<Duration> = rounds.waiting.iter().map(|(due, _)| *due).collect();
        assert_eq!(places(&later), places(&dues));
    }

    #[test]
    fn what_is_known_stays_through_other_plans() {
        let mut rounds = Rounds::default();
        rounds.set(&plan(&[(1, 1), (2, 1)]), Duration::ZERO);
        while let Some(turn) = rounds.take(Duration::from_secs(1)) {
            rounds.hear(&turn, Answer::Failed(Failure::Late), Duration::from_secs(1));
            if rounds.found().failures.len() == 2 {
                break;
            }
        }
        rounds.set(&plan(&[(2, 3), (3, 1)]), Duration::from_secs(2));
        let found = rounds.found();
        assert_eq!((found.unfit.len(), found.failures[0].0.address), (1, [10, 0, 0, 2].into()));
        rounds.set(&Plan::default(), Duration::from_secs(3));
        assert!(rounds.found().unfit.is_empty() && rounds.next_due().is_none());
    }
}
