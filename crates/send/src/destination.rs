//! One destination: how many attempts it may have at once, and when it is in back-off.
//!
//! Concurrency follows the destination's answers, like congestion control. It starts low, rises by
//! one for each full set of successes, and halves on trouble with the destination itself. It halves
//! only once for the attempts that were under way together, because all of them met the same
//! trouble. When the last of these has failed too and none got an answer, the destination counts as
//! down. It then gets no attempt for a while, then a single probe, and another after each doubled
//! pause until one is answered. The refusal of one message does not count against its destination.

use std::time::SystemTime;

use relay_smtp::Outcome;

use crate::retry::RetryPolicy;

/// Concurrency of a new destination.
const INITIAL_CONCURRENCY: u32 = 5;

/// What an attempt has shown about its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feedback {
    /// The destination answered: mail was delivered, or one message was refused.
    Answered,
    /// The destination could not be reached, or it refused this relay.
    Trouble(Box<Outcome>),
    /// Nothing: no attempt was made.
    Nothing,
}

/// Concurrency and back-off of one destination.
#[derive(Debug, Clone)]
pub struct Health {
    limit: u32,
    in_flight: u32,
    /// Answers since the limit last moved.
    answers: u32,
    /// Attempts that began before the last halving and must not halve again.
    forgiven: u32,
    /// Whether the destination has answered since the last time that no attempt was under way.
    has_answered: bool,
    down: Option<Down>,
}

/// The back-off of a destination.
#[derive(Debug, Clone)]
struct Down {
    failures: u32,
    until: SystemTime,
    trouble: Box<Outcome>,
}

impl Health {
    /// Returns the health of a new destination.
    pub fn new(max: u32) -> Self {
        Self {
            limit: INITIAL_CONCURRENCY.min(max).max(1),
            in_flight: 0,
            answers: 0,
            forgiven: 0,
            has_answered: false,
            down: None,
        }
    }

    /// Whether one more attempt may begin at `now`.
    pub fn has_slot(&self, now: SystemTime) -> bool {
        match &self.down {
            Some(down) => self.in_flight == 0 && down.until <= now,
            None => !self.is_full(),
        }
    }

    /// Whether only a slot is missing. One becomes free when an attempt ends.
    pub fn is_full(&self) -> bool {
        match &self.down {
            Some(_) => self.in_flight > 0,
            // Part of a set met trouble and none got an answer: the rest will decide.
            None if self.forgiven > 0 && !self.has_answered => true,
            None => self.in_flight >= self.limit,
        }
    }

    /// Returns the end of the back-off.
    pub fn down_until(&self) -> Option<SystemTime> {
        self.down.as_ref().map(|down| down.until)
    }

    /// Returns the reason of the back-off.
    pub fn trouble(&self) -> Option<&Outcome> {
        self.down.as_ref().map(|down| down.trouble.as_ref())
    }

    /// Whether the destination has answered since the last time that no attempt was under way.
    pub fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Returns the number of attempts under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Returns how many attempts may be under way at once.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Counts an attempt that begins.
    pub fn start(&mut self) {
        if self.in_flight == 0 {
            self.has_answered = false;
        }
        self.in_flight += 1;
    }

    /// Counts the end of an attempt, and adapts to its feedback.
    pub fn finish(&mut self, feedback: Feedback, max: u32, policy: &RetryPolicy, now: SystemTime) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let was_forgiven = self.forgiven > 0;
        self.forgiven = self.forgiven.saturating_sub(1);
        match feedback {
            Feedback::Nothing => {}
            Feedback::Answered => self.rise(max),
            Feedback::Trouble(trouble) => {
                if !was_forgiven {
                    self.limit = (self.limit / 2).max(1);
                    self.forgiven = self.in_flight;
                }
                self.answers = 0;
                if self.in_flight == 0 && !self.has_answered {
                    let failures = self.down.as_ref().map_or(0, |down| down.failures) + 1;
                    self.down = Some(Down {
                        failures,
                        until: now + policy.probe_pause(failures),
                        trouble,
                    });
                }
            }
        }
    }

    /// Limits concurrency to `max` and back-off to `latest`, after a change of the configuration or
    /// of the clock.
    pub fn bound(&mut self, max: u32, latest: SystemTime) {
        self.limit = self.limit.min(max.max(1));
        if let Some(down) = &mut self.down {
            down.until = down.until.min(latest);
        }
    }

    /// Ends the back-off, as the operator has ordered.
    pub fn forget_trouble(&mut self) {
        self.down = None;
    }

    fn rise(&mut self, max: u32) {
        self.has_answered = true;
        if self.down.take().is_some() {
            self.limit = INITIAL_CONCURRENCY.min(max).max(1);
            self.answers = 0;
        }
        self.answers += 1;
        if self.answers >= self.limit {
            self.answers = 0;
            self.limit = (self.limit + 1).min(max.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use relay_smtp::{EnhancedStatus, Stage, Verdict};

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        lifetime: Duration::from_hours(24),
        unit: Duration::from_secs(100),
        max_interval: Duration::from_mins(5),
    };
    const NOW: SystemTime = UNIX_EPOCH;

    fn trouble() -> Feedback {
        Feedback::Trouble(Box::new(Outcome {
            verdict: Verdict::Deferred,
            status: EnhancedStatus::transient(4, 1),
            stage: Stage::Connect,
            peer: None,
            reply: None,
            detail: "connection refused".into(),
        }))
    }

    fn run(health: &mut Health, n: u32, feedback: &Feedback) {
        (0..n).for_each(|_| health.start());
        (0..n).for_each(|_| health.finish(feedback.clone(), 20, &POLICY, NOW));
    }

    #[test]
    fn concurrency_rises_with_full_sets_of_successes_up_to_the_bound() {
        let mut health = Health::new(20);
        run(&mut health, 5, &Feedback::Answered);
        assert_eq!(health.limit(), 6);
        (0..40).for_each(|_| run(&mut health, 20, &Feedback::Answered));
        assert_eq!(health.limit(), 20);
    }

    #[test]
    fn one_failure_among_successes_halves_the_limit_once_and_starts_no_back_off() {
        let mut health = Health::new(20);
        (0..40).for_each(|_| run(&mut health, 20, &Feedback::Answered));
        (0..20).for_each(|_| health.start());
        (0..8).for_each(|_| health.finish(trouble(), 20, &POLICY, NOW));
        assert_eq!((health.limit(), health.down_until()), (10, None));
        (0..12).for_each(|_| health.finish(Feedback::Answered, 20, &POLICY, NOW));
        assert!(health.has_slot(NOW));
    }

    #[test]
    fn trouble_after_an_answer_in_the_same_set_leaves_the_destination_up() {
        let mut health = Health::new(20);
        (0..2).for_each(|_| health.start());
        health.finish(Feedback::Answered, 20, &POLICY, NOW);
        health.finish(trouble(), 20, &POLICY, NOW);
        assert_eq!(health.down_until(), None);
        run(&mut health, 1, &trouble());
        assert!(health.down_until().is_some(), "no answer has come since");
    }

    #[test]
    fn new_limits_apply_to_earlier_concurrency_and_back_off() {
        let mut health = Health::new(20);
        run(&mut health, 5, &trouble());
        health.bound(1, NOW + Duration::from_secs(7));
        assert_eq!(health.down_until(), Some(NOW + Duration::from_secs(7)));
        run(&mut health, 1, &Feedback::Answered);
        health.bound(2, NOW);
        assert_eq!(health.limit(), 2);
    }

    #[test]
    fn a_set_without_an_answer_is_followed_by_single_probes_at_doubling_pauses() {
        let mut health = Health::new(20);
        run(&mut health, 5, &trouble());
        let mut now = NOW;
        for pause in [100, 200, 300, 300] {
            let until = now + Duration::from_secs(pause);
            assert_eq!(health.down_until(), Some(until));
            assert!(!health.has_slot(until - Duration::from_secs(1)) && health.has_slot(until));
            now = until;
            health.start();
            assert!(!health.has_slot(now), "only one probe");
            health.finish(trouble(), 20, &POLICY, now);
        }
        health.start();
        health.finish(Feedback::Answered, 20, &POLICY, now);
        assert!(health.down_until().is_none() && health.has_slot(now) && health.limit() == 5);
    }
}
