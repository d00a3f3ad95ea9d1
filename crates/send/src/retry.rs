//! When a deferred recipient is tried again: at `arrival + unit × n²`, as in qmail.

use std::time::{Duration, SystemTime};

/// How long and how often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Delivery of a message older than this is given up (qmail: queuelifetime).
    pub lifetime: Duration,
    /// The unit of the schedule: the second attempt is made this long after arrival.
    pub unit: Duration,
    /// The longest pause between two attempts.
    pub max_interval: Duration,
}

/// The jitter of a pause is at most one part in this many, so that messages that arrived together
/// are not tried together for ever.
const JITTER_PARTS: u32 = 20;
/// The bound of every duration in a policy, so that sums of times stay in range.
pub(crate) const CENTURY: Duration = Duration::from_hours(24 * 36525);

impl RetryPolicy {
    /// Returns when delivery of a message that arrived at `arrived` is given up.
    pub fn expiry(&self, arrived: SystemTime) -> SystemTime {
        arrived + self.lifetime.min(CENTURY)
    }

    /// Returns the next time on the schedule after `now`, or the expiry if that is earlier: the
    /// last attempt is made exactly then. `chance`, between 0 and 1, moves the time a little, but
    /// never before its own square, because that square would then come next again.
    pub fn next_attempt(&self, arrived: SystemTime, now: SystemTime, chance: f64) -> SystemTime {
        let unit = self.unit.as_secs_f64().max(0.001);
        let age = now
            .duration_since(arrived)
            .unwrap_or_default()
            .as_secs_f64();
        let n = (age / unit).sqrt().floor() + 1.0;
        let longest = self.max_interval.min(CENTURY);
        let until_square = Duration::try_from_secs_f64(unit * n * n - age).unwrap_or(longest);
        // Where squares are further apart than the longest pause, attempts come at that pause.
        let is_capped = unit * (2.0 * n - 1.0) >= longest.as_secs_f64();
        let pause = if is_capped { longest } else { until_square };
        let jitter = (pause.min(longest) / JITTER_PARTS).mul_f64(chance.clamp(0.0, 1.0));
        let pause = if pause < longest {
            (pause + jitter).min(longest)
        } else {
            longest.saturating_sub(jitter)
        };
        let (next, expiry) = (now + pause, self.expiry(arrived));
        if now < expiry { next.min(expiry) } else { next }
    }

    /// Returns the recorded time of a next attempt as it counts at `now`. A time further away than
    /// the longest pause was recorded by a clock that was ahead, and counts as `now`.
    pub fn plausible(&self, next_attempt: SystemTime, now: SystemTime) -> SystemTime {
        let latest = now + self.max_interval.min(CENTURY);
        if next_attempt > latest {
            now
        } else {
            next_attempt
        }
    }

    /// Returns the pause at a destination in trouble after `failures` failed probes in a row: the
    /// unit, doubled each time, up to the longest pause.
    pub fn probe_pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.unit
            .saturating_mul(1 << doublings)
            .min(self.max_interval)
            .min(CENTURY)
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
    fn jitter_moves_a_time_a_little_and_never_before_its_square_or_beyond_the_cap() {
        assert_eq!(POLICY.next_attempt(at(0), at(0), 1.0), at(420));
        let day = 86400;
        let capped = POLICY.next_attempt(at(0), at(4 * day), 1.0);
        assert_eq!(capped, at(4 * day + 4 * 3600 - 720));
    }

    #[test]
    fn each_square_has_one_attempt_whatever_the_jitter() {
        for chance in [0.0, 0.3, 1.0] {
            let mut now = at(0);
            for n in 1..=5 {
                now = POLICY.next_attempt(at(0), now, chance);
                assert!(now >= at(400 * n * n) && now < at(400 * (n + 1) * (n + 1)));
            }
        }
    }

    #[test]
    fn a_recorded_time_beyond_the_longest_pause_counts_as_now() {
        let cap = 4 * 3600;
        assert_eq!(POLICY.plausible(at(cap), at(0)), at(cap));
        assert_eq!(POLICY.plausible(at(cap + 1), at(0)), at(0));
        assert_eq!(POLICY.plausible(at(0), at(500)), at(0));
    }

    #[test]
    fn endless_durations_count_as_a_century() {
        let endless = RetryPolicy {
            lifetime: Duration::MAX,
            unit: Duration::MAX,
            max_interval: Duration::MAX,
        };
        assert!(endless.next_attempt(at(0), at(1), 1.0) > at(1));
        assert!(endless.probe_pause(3) < Duration::MAX);
        assert!(endless.plausible(at(7), at(1)) == at(7));
    }

    #[test]
    fn a_clock_set_back_delays_no_attempt_beyond_the_unit() {
        assert_eq!(POLICY.next_attempt(at(1000), at(0), 0.0), at(400));
    }

    #[test]
    fn pauses_between_probes_double_up_to_the_cap() {
        let pauses: Vec<_> = [1, 2, 3, 7, 99]
            .map(|n| POLICY.probe_pause(n).as_secs())
            .into();
        assert_eq!(pauses, [400, 800, 1600, 14400, 14400]);
    }
}
