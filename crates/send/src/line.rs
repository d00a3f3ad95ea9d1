//! The jobs that wait at one destination, by the time they are due and by age.
//!
//! Millions may wait, so times are kept as numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_message::QueueId;

use crate::retry::{CENTURY, RetryPolicy};

/// Microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Before everything.
    pub(crate) const FIRST: Self = Self(0);

    /// The first moment at which `time` has come: rounded up, so that what is due here is due by
    /// the record too.
    pub(crate) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = since.as_nanos().div_ceil(1000);
        Self(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The last moment that has come at `now`.
    pub(crate) fn reached(now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

/// A job's place by age: its arrival, to the microsecond as records keep it, then the id. Ids alone
/// sort by arrival only while no clock is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    arrived: Moment,
    id: QueueId,
}

impl Age {
    pub(crate) fn new(arrived: SystemTime, id: QueueId) -> Self {
        Self {
            arrived: Moment::reached(arrived),
            id,
        }
    }

    pub(crate) fn id(self) -> QueueId {
        self.id
    }

    pub(crate) fn arrived(self) -> SystemTime {
        self.arrived.time()
    }

    /// When a job of this age is given up: never before its message's expiry.
    pub(crate) fn expiry(self, policy: &RetryPolicy) -> SystemTime {
        policy.expiry(self.arrived()) + Duration::from_micros(1)
    }

    /// When the sender of a job of this age is told that it still waits.
    pub(crate) fn notice(self, after: Duration) -> SystemTime {
        self.arrived() + after.min(CENTURY) + Duration::from_micros(1)
    }
}

/// The jobs that wait at one destination.
#[derive(Debug, Default)]
pub(crate) struct Line {
    by_due: BTreeMap<(Moment, QueueId), Moment>,
    by_age: BTreeMap<Age, Moment>,
    /// Jobs that are to be tried though they may not be due, each for itself.
    wanted: BTreeSet<Age>,
    /// Jobs whose sender is to be told once they have waited for long.
    untold: BTreeSet<Age>,
}

impl Line {
    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// Adds a job; whether it is new. One that waits already keeps the earlier time.
    pub(crate) fn insert(&mut self, age: Age, due: Moment) -> bool {
        let old = self.by_age.get(&age).copied();
        if old.is_some_and(|old| old <= due) {
            return false;
        }
        if let Some(old) = old {
            self.by_due.remove(&(old, age.id));
        }
        self.by_age.insert(age, due);
        self.by_due.insert((due, age.id), age.arrived);
        old.is_none()
    }

    /// A job that waits is due at `due` if it was due later; one that does not wait stays away.
    pub(crate) fn advance(&mut self, age: Age, due: Moment) {
        if self.by_age.contains_key(&age) {
            self.insert(age, due);
        }
    }

    /// Makes one job due, whatever it waits for; whether it waits here.
    pub(crate) fn want(&mut self, age: Age) -> bool {
        let is_here = self.by_age.contains_key(&age);
        if is_here {
            self.wanted.insert(age);
        }
        is_here
    }

    /// Jobs that are to be tried though they may not be due.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Age> {
        self.wanted.iter().copied()
    }

    /// Has the sender of a job that waits told when it has waited for long.
    pub(crate) fn owe_notice(&mut self, age: Age) {
        if self.by_age.contains_key(&age) {
            self.untold.insert(age);
        }
    }

    /// The oldest job whose sender is to be told.
    pub(crate) fn first_untold(&self) -> Option<Age> {
        self.untold.first().copied()
    }

    /// Takes out the oldest job that is to be tried though it may not be due.
    pub(crate) fn take_forced(&mut self) -> Option<Age> {
        let age = self.wanted.first().copied()?;
        self.remove(age);
        Some(age)
    }

    /// Takes out the job that has been due for longest at `now`.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Age> {
        let (&(due, id), &arrived) = self.by_due.first_key_value()?;
        if due > now {
            return None;
        }
        let age = Age { arrived, id };
        self.remove(age);
        Some(age)
    }

    pub(crate) fn oldest(&self) -> Option<Age> {
        self.by_age.keys().next().copied()
    }

    /// When the first job is due; [`Moment::FIRST`] if one is to be tried without being due.
    pub(crate) fn first_due(&self) -> Option<Moment> {
        if !self.wanted.is_empty() {
            return Some(Moment::FIRST);
        }
        self.by_due.keys().next().map(|&(due, _)| due)
    }

    /// Takes out a job; whether it was here.
    pub(crate) fn remove(&mut self, age: Age) -> bool {
        let due = self.by_age.remove(&age);
        if let Some(due) = due {
            self.by_due.remove(&(due, age.id));
            self.wanted.remove(&age);
            self.untold.remove(&age);
        }
        due.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(n: u64) -> Age {
        Age::new(
            UNIX_EPOCH + Duration::from_secs(n / 10),
            QueueId::from_bits(n),
        )
    }

    fn moment(n: u64) -> Moment {
        Moment(n)
    }

    #[test]
    fn a_job_keeps_the_earlier_time() {
        let mut line = Line::default();
        assert!(line.insert(age(1), moment(50)));
        assert!(!line.insert(age(1), moment(70)));
        assert_eq!(line.first_due(), Some(moment(50)));
        assert!(!line.insert(age(1), moment(30)));
        assert_eq!((line.first_due(), line.len()), (Some(moment(30)), 1));
        assert_eq!(line.take_due(moment(29)), None);
        assert_eq!(line.take_due(moment(30)), Some(age(1)));
        assert!(line.is_empty() && line.by_due.is_empty());
    }

    #[test]
    fn a_job_that_is_wanted_comes_first_and_once() {
        let mut line = Line::default();
        for n in 1..=3 {
            line.insert(age(n), moment(1000 + n));
        }
        assert!(line.want(age(2)) && !line.want(age(9)));
        assert_eq!(line.take_forced(), Some(age(2)));
        assert_eq!(line.take_forced(), None);
        line.insert(age(2), moment(2000));
        assert_eq!(line.first_due(), Some(moment(1001)));
    }

    #[test]
    fn a_job_that_has_left_owes_no_notice() {
        let mut line = Line::default();
        line.insert(age(1), moment(5));
        line.owe_notice(age(1));
        line.owe_notice(age(2));
        assert_eq!(line.first_untold(), Some(age(1)));
        assert!(line.remove(age(1)) && !line.remove(age(1)));
        assert_eq!(line.first_untold(), None);
    }

    #[test]
    fn a_moment_is_never_before_its_time() {
        let time = UNIX_EPOCH + Duration::from_nanos(1001);
        assert_eq!(
            (Moment::of(time), Moment::reached(time)),
            (Moment(2), Moment(1))
        );
        assert!(Moment::of(time).time() >= time);
        let whole = UNIX_EPOCH + Duration::from_micros(7);
        assert_eq!(Moment::of(whole), Moment::reached(whole));
        assert_eq!(
            Moment::of(UNIX_EPOCH - Duration::from_secs(9)),
            Moment::FIRST
        );
    }

    #[test]
    fn age_is_by_arrival_even_where_ids_are_not() {
        let late = Age::new(UNIX_EPOCH + Duration::from_secs(5), QueueId::from_bits(1));
        let early = Age::new(UNIX_EPOCH + Duration::from_secs(4), QueueId::from_bits(2));
        assert!(early < late);
    }
}
