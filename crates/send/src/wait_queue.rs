//! The jobs that wait at one destination, by the time they are due and by age.
//!
//! Millions may wait, so times are kept as numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_message::QueueId;

use crate::retry::{CENTURY, RetryPolicy};

/// Microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Micros(u64);

impl Micros {
    /// The time before all others.
    pub(crate) const FIRST: Self = Self(0);

    /// Converts `time`, rounded up, so that a job that is due here is due by its record too.
    pub(crate) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = since.as_nanos().div_ceil(1000);
        Self(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Converts `now`, rounded down.
    pub(crate) fn reached(now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

/// The key of a job, which sorts by age: the arrival in microseconds, as in records, then the id.
/// Ids alone sort by arrival only while no clock is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobKey {
    arrived: Micros,
    id: QueueId,
}

impl JobKey {
    pub(crate) fn new(arrived: SystemTime, id: QueueId) -> Self {
        Self {
            arrived: Micros::reached(arrived),
            id,
        }
    }

    pub(crate) fn id(self) -> QueueId {
        self.id
    }

    pub(crate) fn arrived(self) -> SystemTime {
        self.arrived.time()
    }

    /// Returns when this job is given up, never before the expiry of its message.
    pub(crate) fn expiry(self, policy: &RetryPolicy) -> SystemTime {
        policy.expiry(self.arrived()) + Duration::from_micros(1)
    }

    /// Returns when the sender gets a delay notice about this job.
    pub(crate) fn notice(self, after: Duration) -> SystemTime {
        self.arrived() + after.min(CENTURY) + Duration::from_micros(1)
    }
}

/// The jobs that wait at one destination.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    by_due: BTreeMap<(Micros, QueueId), Micros>,
    by_age: BTreeMap<JobKey, Micros>,
    /// Jobs to be tried even if they are not due.
    wanted: BTreeSet<JobKey>,
    /// Jobs whose sender gets a delay notice when they have waited long.
    notice_owed: BTreeSet<JobKey>,
}

impl WaitQueue {
    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// Adds a job. Returns whether it is new. A job that waits already keeps the earlier time.
    pub(crate) fn insert(&mut self, job_key: JobKey, due: Micros) -> bool {
        let old = self.by_age.get(&job_key).copied();
        if old.is_some_and(|old| old <= due) {
            return false;
        }
        if let Some(old) = old {
            self.by_due.remove(&(old, job_key.id));
        }
        self.by_age.insert(job_key, due);
        self.by_due.insert((due, job_key.id), job_key.arrived);
        old.is_none()
    }

    /// Moves a waiting job to `due` if it was due later. Does nothing if the job does not wait.
    pub(crate) fn advance(&mut self, job_key: JobKey, due: Micros) {
        if self.by_age.contains_key(&job_key) {
            self.insert(job_key, due);
        }
    }

    /// Makes one job due, even if its time or its destination would not allow it. Returns whether it
    /// was waiting.
    pub(crate) fn want(&mut self, job_key: JobKey) -> bool {
        let is_here = self.by_age.contains_key(&job_key);
        if is_here {
            self.wanted.insert(job_key);
        }
        is_here
    }

    /// Returns the jobs to be tried even if they are not due.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = JobKey> {
        self.wanted.iter().copied()
    }

    /// Notes that the sender of a waiting job gets a delay notice.
    pub(crate) fn owe_notice(&mut self, job_key: JobKey) {
        if self.by_age.contains_key(&job_key) {
            self.notice_owed.insert(job_key);
        }
    }

    /// Returns the oldest job whose sender gets a delay notice.
    pub(crate) fn first_notice_owed(&self) -> Option<JobKey> {
        self.notice_owed.first().copied()
    }

    /// Takes out the oldest job to be tried even if it is not due.
    pub(crate) fn take_forced(&mut self) -> Option<JobKey> {
        let job_key = self.wanted.first().copied()?;
        self.remove(job_key);
        Some(job_key)
    }

    /// Takes out the job that has been due for longest at `now`.
    pub(crate) fn take_due(&mut self, now: Micros) -> Option<JobKey> {
        let (&(due, id), &arrived) = self.by_due.first_key_value()?;
        if due > now {
            return None;
        }
        let job_key = JobKey { arrived, id };
        self.remove(job_key);
        Some(job_key)
    }

    pub(crate) fn oldest(&self) -> Option<JobKey> {
        self.by_age.keys().next().copied()
    }

    /// Returns when the first job is due, or [`Micros::FIRST`] if one is tried without being due.
    pub(crate) fn first_due(&self) -> Option<Micros> {
        if !self.wanted.is_empty() {
            return Some(Micros::FIRST);
        }
        self.by_due.keys().next().map(|&(due, _)| due)
    }

    /// Takes out a job. Returns whether it was here.
    pub(crate) fn remove(&mut self, job_key: JobKey) -> bool {
        let due = self.by_age.remove(&job_key);
        if let Some(due) = due {
            self.by_due.remove(&(due, job_key.id));
            self.wanted.remove(&job_key);
            self.notice_owed.remove(&job_key);
        }
        due.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job_key(n: u64) -> JobKey {
        JobKey::new(
            UNIX_EPOCH + Duration::from_secs(n / 10),
            QueueId::from_bits(n),
        )
    }

    fn micros(n: u64) -> Micros {
        Micros(n)
    }

    #[test]
    fn a_job_keeps_the_earlier_time() {
        let mut wait_queue = WaitQueue::default();
        assert!(wait_queue.insert(job_key(1), micros(50)));
        assert!(!wait_queue.insert(job_key(1), micros(70)));
        assert_eq!(wait_queue.first_due(), Some(micros(50)));
        assert!(!wait_queue.insert(job_key(1), micros(30)));
        assert_eq!(
            (wait_queue.first_due(), wait_queue.len()),
            (Some(micros(30)), 1)
        );
        assert_eq!(wait_queue.take_due(micros(29)), None);
        assert_eq!(wait_queue.take_due(micros(30)), Some(job_key(1)));
        assert!(wait_queue.is_empty() && wait_queue.by_due.is_empty());
    }

    #[test]
    fn a_wanted_job_comes_first_and_once() {
        let mut wait_queue = WaitQueue::default();
        for n in 1..=3 {
            wait_queue.insert(job_key(n), micros(1000 + n));
        }
        assert!(wait_queue.want(job_key(2)) && !wait_queue.want(job_key(9)));
        assert_eq!(wait_queue.take_forced(), Some(job_key(2)));
        assert_eq!(wait_queue.take_forced(), None);
        wait_queue.insert(job_key(2), micros(2000));
        assert_eq!(wait_queue.first_due(), Some(micros(1001)));
    }

    #[test]
    fn a_job_that_has_left_owes_no_notice() {
        let mut wait_queue = WaitQueue::default();
        wait_queue.insert(job_key(1), micros(5));
        wait_queue.owe_notice(job_key(1));
        wait_queue.owe_notice(job_key(2));
        assert_eq!(wait_queue.first_notice_owed(), Some(job_key(1)));
        assert!(wait_queue.remove(job_key(1)) && !wait_queue.remove(job_key(1)));
        assert_eq!(wait_queue.first_notice_owed(), None);
    }

    #[test]
    fn conversion_to_micros_never_gives_an_earlier_time() {
        let time = UNIX_EPOCH + Duration::from_nanos(1001);
        assert_eq!(
            (Micros::of(time), Micros::reached(time)),
            (Micros(2), Micros(1))
        );
        assert!(Micros::of(time).time() >= time);
        let whole = UNIX_EPOCH + Duration::from_micros(7);
        assert_eq!(Micros::of(whole), Micros::reached(whole));
        assert_eq!(
            Micros::of(UNIX_EPOCH - Duration::from_secs(9)),
            Micros::FIRST
        );
    }

    #[test]
    fn keys_sort_by_arrival_even_if_ids_do_not() {
        let late = JobKey::new(UNIX_EPOCH + Duration::from_secs(5), QueueId::from_bits(1));
        let early = JobKey::new(UNIX_EPOCH + Duration::from_secs(4), QueueId::from_bits(2));
        assert!(early < late);
    }
}
