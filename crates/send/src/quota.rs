//! How many reports a sender gets within an hour: forged senders must not make us the one who
//! floods them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use relay_smtp::Mailbox;

const HOUR: Duration = Duration::from_hours(1);
/// Senders that are counted at once. A flood from more senders than these cannot be told from as
/// many honest ones by counting each.
const SENDERS: usize = 10_000;

/// Failures are counted apart from other reports, so that a sender who asks for a report of every
/// delivery and delay does not miss a failure.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    pub(crate) failures: Arc<Quota>,
    pub(crate) notices: Arc<Quota>,
}

impl Quotas {
    /// Reports that were not made, since the start.
    pub(crate) fn suppressed(&self) -> u64 {
        self.failures.suppressed() + self.notices.suppressed()
    }
}

/// Counts reports by sender.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    counts: Mutex<HashMap<Arc<str>, Count>>,
    suppressed: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: SystemTime,
    reports: u32,
}

/// The right to one report, given back unless the report has entered the queue.
#[derive(Debug)]
pub(crate) struct Permit {
    quota: Arc<Quota>,
    sender: Option<Arc<str>>,
}

impl Quota {
    /// One more report to this sender at `now`; `None` if it has had `limit` within the hour.
    pub(crate) fn take(
        self: &Arc<Self>,
        sender: &Mailbox,
        limit: u32,
        now: SystemTime,
    ) -> Option<Permit> {
        let sender: Arc<str> = sender.to_string().to_lowercase().into();
        let is_recent = |count: &Count| now.duration_since(count.since).is_ok_and(|age| age < HOUR);
        let mut counts = self.lock();
        if counts.len() >= SENDERS {
            counts.retain(|_, count| is_recent(count));
        }
        let has_room = counts.len() < SENDERS || counts.contains_key(&sender);
        if !has_room {
            return Some(self.permit(None));
        }
        let fresh = Count {
            since: now,
            reports: 0,
        };
        let count = counts.entry(Arc::clone(&sender)).or_insert(fresh);
        if !is_recent(count) {
            *count = fresh;
        }
        if count.reports >= limit {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        count.reports += 1;
        Some(self.permit(Some(sender)))
    }

    fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// The right to a report that is not counted.
    pub(crate) fn permit(self: &Arc<Self>, sender: Option<Arc<str>>) -> Permit {
        Permit {
            quota: Arc::clone(self),
            sender,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Count>> {
        // Every change under this lock is whole: a panic leaves no half.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The report has entered the queue.
    pub(crate) fn used(mut self) {
        self.sender = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender
            && let Some(count) = self.quota.lock().get_mut(sender)
        {
            count.reports = count.reports.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn take(quota: &Arc<Quota>, sender: &str, minute: u64) -> bool {
        let now = UNIX_EPOCH + Duration::from_mins(minute);
        let permit = quota.take(&sender.parse().expect("a good address"), 2, now);
        permit.map(Permit::used).is_some()
    }

    #[test]
    fn a_sender_gets_so_many_reports_within_an_hour_and_others_theirs() {
        let quota = Arc::new(Quota::default());
        assert!(take(&quota, "a@home.test", 100) && take(&quota, "A@HOME.test", 110));
        assert!(!take(&quota, "a@home.test", 159) && take(&quota, "b@home.test", 159));
        assert_eq!(quota.suppressed(), 1);
        assert!(take(&quota, "a@home.test", 160));
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let quota = Arc::new(Quota::default());
        assert!(take(&quota, "a@home.test", 100) && take(&quota, "a@home.test", 100));
        assert!(take(&quota, "a@home.test", 5));
    }

    #[test]
    fn a_report_that_was_not_made_is_not_counted() {
        let quota = Arc::new(Quota::default());
        let sender: Mailbox = "a@home.test".parse().expect("a good address");
        for _ in 0..5 {
            assert!(quota.take(&sender, 1, UNIX_EPOCH).is_some());
        }
    }

    #[test]
    fn the_senders_that_are_counted_are_bounded_and_old_ones_make_room() {
        let quota = Arc::new(Quota::default());
        for n in 0..SENDERS + 50 {
            assert!(take(&quota, &format!("u{n}@home.test"), 100));
        }
        assert_eq!(quota.lock().len(), SENDERS);
        assert!(take(&quota, "new@home.test", 160));
        assert_eq!(quota.lock().len(), 1);
    }
}
