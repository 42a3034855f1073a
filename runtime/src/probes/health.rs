//! Whether one backend is fit, by what it answered so far.
//!
//! It is fit until it is asked; its first answer decides alone, so that who is down when the checks begin is out at once. From then on so many
//! answers in a row against what it is change it. Not here: when it is asked, beyond how long a pause is.

use super::asking::Failure;
use super::plan::HealthCheck;
use std::time::Duration;

/// What is known of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    is_fit: bool,
    was_asked: bool,
    /// Answers in a row against what it is.
    against: u16,
    /// What was wrong with its last answer.
    failure: Option<Failure>,
}

impl Default for Health {
    fn default() -> Self {
        Health { is_fit: true, was_asked: false, against: 0, failure: None }
    }
}

impl Health {
    /// Takes an answer; whether it changes what the backend is.
    pub(super) fn hear(&mut self, answer: Result<(), Failure>, check: &HealthCheck) -> bool {
        let passed = answer.is_ok();
        self.failure = answer.err();
        let is_first = !std::mem::replace(&mut self.was_asked, true);
        if passed == self.is_fit {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        let wanted = match (is_first, passed) {
            (true, _) => 1,
            (false, true) => check.healthy,
            (false, false) => check.unhealthy,
        };
        if self.against < wanted {
            return false;
        }
        self.is_fit = passed;
        self.against = 0;
        true
    }

    /// What it is stays when it is checked otherwise from now on; answers to other questions are not counted together.
    pub(super) fn begin_anew(&mut self) {
        self.against = 0;
    }

    pub(super) const fn is_fit(&self) -> bool {
        self.is_fit
    }

    pub(super) const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// How long from one check to the next.
    pub(super) fn pause(&self, check: &HealthCheck) -> Duration {
        if !self.is_fit && self.failure.is_some() {
            check.interval.max(check.quarantine)
        } else {
            check.interval
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(healthy: u16, unhealthy: u16) -> HealthCheck {
        let [interval, quarantine] = [1, 30].map(Duration::from_secs);
        HealthCheck { interval, timeout: interval, healthy, unhealthy, quarantine, http: None }
    }

    fn answer(passed: bool) -> Result<(), Failure> {
        if passed { Ok(()) } else { Err(Failure::Late) }
    }

    proptest! {
        /// The thresholds, told by the answers alone: the first decides, then the last so many if they are all against it.
        #[test]
        fn it_is_as_its_last_answers_say(answers in prop::collection::vec(any::<bool>(), 1..60), healthy in 1..5u16, unhealthy in 1..5u16) {
            let check = check(healthy, unhealthy);
            let mut health = Health::default();
            let mut is_fit = true;
            for end in 1..=answers.len() {
                let before = is_fit;
                let wanted = usize::from(if is_fit { unhealthy } else { healthy });
                is_fit = if end == 1 {
                    answers[0]
                } else if end > wanted && answers[end - wanted..end].iter().all(|&passed| passed != is_fit) {
                    !is_fit
                } else {
                    is_fit
                };
                let changed = health.hear(answer(answers[end - 1]), &check);
                prop_assert_eq!((health.is_fit(), changed), (is_fit, is_fit != before), "after {:?}", &answers[..end]);
            }
        }
    }

    #[test]
    fn who_failed_is_left_alone_for_a_while_and_who_comes_back_is_not() {
        let check = check(2, 1);
        let mut health = Health::default();
        assert_eq!(health.pause(&check), check.interval);
        assert!(health.hear(answer(false), &check));
        assert_eq!(health.pause(&check), check.quarantine);
        assert!(!health.hear(answer(true), &check));
        assert_eq!(health.pause(&check), check.interval);
        assert!(health.hear(answer(true), &check) && health.is_fit());
    }
}
