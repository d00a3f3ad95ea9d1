//! When a deferred recipient is tried again, as qmail has it: at `arrival + unit × n²`.

use std::time::{Duration, SystemTime};

/// How long and how often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// A message that is older is given up (qmail: queuelifetime).
    pub lifetime: Duration,
    /// The unit of the schedule: the second attempt comes this long after arrival.
    pub unit: Duration,
    /// The longest pause between two attempts.
    pub max_interval: Duration,
}

/// One part in this many of a pause is left to chance, so that what arrived together does not come
/// back together for ever.
const JITTER_PARTS: u32 = 20;

impl RetryPolicy {
    /// When a message that arrived at `arrived` gives up.
    pub fn expiry(&self, arrived: SystemTime) -> SystemTime {
        arrived + self.lifetime
    }

    /// The next time on the schedule behind `now`, the expiry at the latest: the last attempt is
    /// made right then. `chance` is between 0 and 1.
    pub fn next_attempt(&self, arrived: SystemTime, now: SystemTime, chance: f64) -> SystemTime {
        let unit = self.unit.as_secs_f64().max(0.001);
        let age = now
            .duration_since(arrived)
            .unwrap_or_default()
            .as_secs_f64();
        let n = (age / unit).sqrt().floor() + 1.0;
        let pause = Duration::try_from_secs_f64(unit * n * n - age).unwrap_or(self.max_interval);
        let pause = pause.min(self.max_interval);
        let jitter = (pause / JITTER_PARTS).mul_f64(chance.clamp(0.0, 1.0));
        let expiry = self.expiry(arrived);
        let next = now + pause.saturating_sub(jitter);
        if now < expiry { next.min(expiry) } else { next }
    }

    /// How long a destination in trouble is left alone after its `failures`-th failed probe in a
    /// row: the unit, doubling up to the longest pause.
    pub fn probe_pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.unit
            .saturating_mul(1 << doublings)
            .min(self.max_interval)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        lifetime: Duration::from_hours(5 * 24),
        unit: Duration::from_secs(400),
        max_interval: Duration::from_hours(4),
    };

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn attempts_come_at_the_squares() {
        for (now, next) in [
            (0, 400),
            (1, 400),
            (399, 400),
            (400, 1600),
            (1600, 3600),
            (3700, 6400),
        ] {
            assert_eq!(
                POLICY.next_attempt(at(0), at(now), 0.0),
                at(next),
                "after {now}"
            );
        }
    }

    #[test]
    fn pauses_are_capped_and_the_last_attempt_is_at_the_expiry() {
        let day = 86400;
        assert_eq!(
            POLICY.next_attempt(at(0), at(4 * day), 0.0),
            at(4 * day + 4 * 3600)
        );
        assert_eq!(
            POLICY.next_attempt(at(0), at(5 * day - 60), 0.0),
            at(5 * day)
        );
        assert!(POLICY.next_attempt(at(0), at(5 * day), 0.0) > at(5 * day));
    }

    #[test]
    fn chance_only_shortens_and_little() {
        let early = POLICY.next_attempt(at(0), at(0), 1.0);
        assert_eq!(early, at(380));
    }

    #[test]
    fn a_clock_set_back_does_not_delay_beyond_the_unit() {
        assert_eq!(POLICY.next_attempt(at(1000), at(0), 0.0), at(400));
    }

    #[test]
    fn probes_double_up_to_the_cap() {
        let pauses: Vec<_> = [1, 2, 3, 7, 99]
            .map(|n| POLICY.probe_pause(n).as_secs())
            .into();
        assert_eq!(pauses, [400, 800, 1600, 14400, 14400]);
    }
}
