//! How many reports a sender gets within an hour. Without a limit, mail with forged senders would
//! make this relay flood their addresses.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use relay_smtp::Mailbox;

const HOUR: Duration = Duration::from_hours(1);
/// How many senders are counted at once. Counts do not help against more senders than this, since
/// such a flood looks like as many honest senders. Reports beyond are allowed uncounted.
const SENDERS: usize = 10_000;

/// The counts of failures, and of other reports. They are apart, so that a sender who asks for a
/// report on every delivery and delay does not miss a failure.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    pub(crate) failures: Arc<Quota>,
    pub(crate) notices: Arc<Quota>,
}

impl Quotas {
    /// Returns how many reports were suppressed since the start.
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

/// The right to one report. It is given back unless the report enters the queue.
#[derive(Debug)]
pub(crate) struct Permit {
    quota: Arc<Quota>,
    sender: Option<Arc<str>>,
}

impl Quota {
    /// Counts one more report to this sender at `now`. Returns `None` if there were `limit` within
    /// the hour.
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

    /// Returns the right to one report, which is not counted if `sender` is `None`.
    pub(crate) fn permit(self: &Arc<Self>, sender: Option<Arc<str>>) -> Permit {
        Permit {
            quota: Arc::clone(self),
            sender,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Count>> {
        // A panic cannot leave half a change under this lock.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Keeps the count, because the report has entered the queue.
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
    fn each_sender_gets_a_limited_number_of_reports_within_an_hour() {
        let quota = Arc::new(Quota::default());
        assert!(take(&quota, "a@home.test", 100) && take(&quota, "A@HOME.test", 110));
        assert!(!take(&quota, "a@home.test", 159) && take(&quota, "b@home.test", 159));
        assert_eq!(quota.suppressed(), 1);
        assert!(take(&quota, "a@home.test", 160));
    }

    #[test]
    fn a_clock_set_back_blocks_no_sender() {
        let quota = Arc::new(Quota::default());
        assert!(take(&quota, "a@home.test", 100) && take(&quota, "a@home.test", 100));
        assert!(take(&quota, "a@home.test", 5));
    }

    #[test]
    fn a_report_that_was_not_made_does_not_count() {
        let quota = Arc::new(Quota::default());
        let sender: Mailbox = "a@home.test".parse().expect("a good address");
        for _ in 0..5 {
            assert!(quota.take(&sender, 1, UNIX_EPOCH).is_some());
        }
    }

    #[test]
    fn the_number_of_counted_senders_is_bounded_and_old_ones_are_dropped() {
        let quota = Arc::new(Quota::default());
        for n in 0..SENDERS + 50 {
            assert!(take(&quota, &format!("u{n}@home.test"), 100));
        }
        assert_eq!(quota.lock().len(), SENDERS);
        assert!(take(&quota, "new@home.test", 160));
        assert_eq!(quota.lock().len(), 1);
    }
}
