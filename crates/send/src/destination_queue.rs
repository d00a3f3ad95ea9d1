//! One destination in the schedule: its wait queue, its health, and its jobs under way.

use std::collections::HashSet;
use std::time::SystemTime;

use relay_message::{DestinationKey, QueueId};
use relay_smtp::Outcome;

use crate::destination::Health;
use crate::job::{Due, Task, Wait};
use crate::limits::ScheduleLimits;
use crate::wait_queue::{JobKey, Micros, WaitQueue};

/// The most jobs in doubt that are kept. No destination needs more than it has attempts under way.
const DOUBTS: usize = 100;

#[derive(Debug)]
pub(crate) struct DestinationQueue {
    pub(crate) key: DestinationKey,
    pub(crate) health: Health,
    pub(crate) wait_queue: WaitQueue,
    /// Jobs that are out: handed out, and not back yet.
    pub(crate) busy: HashSet<QueueId>,
    pub(crate) place: Place,
    /// Whether the operator has suspended it.
    pub(crate) is_suspended: bool,
    /// Jobs that failed for a reason that may or may not be the destination's.
    doubts: Vec<(JobKey, Micros)>,
}

/// The state of one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationStatus {
    /// Its name.
    pub name: DestinationKey,
    /// Waiting jobs.
    pub waiting: usize,
    /// Attempts under way.
    pub in_flight: u32,
    /// Attempts that may be under way at once.
    pub limit: u32,
    /// When its first job is due, or its next probe if it is in back-off.
    pub next_attempt: Option<SystemTime>,
    /// Why it is in back-off; `None` if it is not.
    pub trouble: Option<Outcome>,
    /// Whether the operator has suspended it.
    pub is_suspended: bool,
}

/// Where a destination waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Nowhere,
    Timer(Micros),
    Ring,
}

impl DestinationQueue {
    pub(crate) fn new(key: DestinationKey, max: u32) -> Self {
        Self {
            key,
            health: Health::new(max),
            wait_queue: WaitQueue::default(),
            busy: HashSet::new(),
            place: Place::Nowhere,
            is_suspended: false,
            doubts: Vec::new(),
        }
    }

    /// Adds a job to the wait queue. Returns whether it is new.
    pub(crate) fn insert(&mut self, wait: Wait) -> bool {
        if self.busy.contains(&wait.id) {
            return false;
        }
        let job_key = JobKey::new(wait.arrived, wait.id);
        let due = match wait.due {
            Due::At(time) => time,
            Due::Recovery { since, .. } if self.health.trouble().is_some() => since,
            Due::Recovery { since, otherwise } => {
                if self.health.in_flight() > 0 && self.doubts.len() < DOUBTS {
                    self.doubts.push((job_key, Micros::of(since)));
                }
                otherwise
            }
        };
        let is_new = self.wait_queue.insert(job_key, Micros::of(due));
        if wait.owes_notice {
            self.wait_queue.owe_notice(job_key);
        }
        is_new
    }

    /// Decides what the jobs in doubt wait for, once the destination is known to be down or up.
    pub(crate) fn settle_doubts(&mut self) {
        let is_down = self.health.trouble().is_some();
        if is_down {
            for (job_key, since) in self.doubts.drain(..) {
                self.wait_queue.advance(job_key, since);
            }
        } else if self.health.in_flight() == 0 || self.health.has_answered() {
            self.doubts.clear();
        }
    }

    pub(crate) fn forget_waiting(&mut self) {
        self.wait_queue = WaitQueue::default();
        self.doubts = Vec::new();
        self.place = Place::Nowhere;
    }

    /// Takes the first job that may begin now out of the wait queue.
    pub(crate) fn next_job(
        &mut self,
        limits: &ScheduleLimits,
        now: SystemTime,
    ) -> Option<(JobKey, Task)> {
        let mail = if self.is_suspended {
            None
        } else {
            self.attempt(now).or_else(|| self.expire(limits, now))
        };
        let (job_key, task) = mail.or_else(|| self.give_notice(limits, now))?;
        self.busy.insert(job_key.id());
        Some((job_key, task))
    }

    fn attempt(&mut self, now: SystemTime) -> Option<(JobKey, Task)> {
        if !self.health.has_slot(now) {
            return None;
        }
        if let Some(job_key) = self.wait_queue.take_forced() {
            return Some((job_key, Task::Force));
        }
        let job_key = self.wait_queue.take_due(Micros::reached(now))?;
        Some((job_key, Task::Attempt))
    }

    fn expire(&mut self, limits: &ScheduleLimits, now: SystemTime) -> Option<(JobKey, Task)> {
        let trouble = self.health.trouble()?;
        let oldest = self.wait_queue.oldest()?;
        if oldest.expiry(&limits.retry) > now {
            return None;
        }
        let task = Task::Expire(Box::new(trouble.clone()));
        self.wait_queue.remove(oldest);
        Some((oldest, task))
    }

    fn give_notice(&mut self, limits: &ScheduleLimits, now: SystemTime) -> Option<(JobKey, Task)> {
        let notice_owed = self.wait_queue.first_notice_owed()?;
        if notice_owed.notice(limits.notice_after) > now {
            return None;
        }
        self.wait_queue.remove(notice_owed);
        let trouble = self.health.trouble().cloned().map(Box::new);
        Some((notice_owed, Task::Notice(trouble)))
    }

    /// Returns when there is something to do, not counting work that waits for a slot.
    pub(crate) fn wake_at(&self, limits: &ScheduleLimits) -> Option<Micros> {
        let notice_owed = self.wait_queue.first_notice_owed();
        let notice = notice_owed.map(|job_key| Micros::of(job_key.notice(limits.notice_after)));
        notice.into_iter().chain(self.wake_for_mail(limits)).min()
    }

    fn wake_for_mail(&self, limits: &ScheduleLimits) -> Option<Micros> {
        if self.is_suspended {
            return None;
        }
        let due = self.wait_queue.first_due()?;
        let Some(until) = self.health.down_until() else {
            return (!self.health.is_full()).then_some(due);
        };
        let oldest = self.wait_queue.oldest();
        let expiry = oldest.map(|job_key| Micros::of(job_key.expiry(&limits.retry)));
        let probe = (!self.health.is_full()).then(|| due.max(Micros::of(until)));
        expiry.into_iter().chain(probe).min()
    }

    /// Whether no job waits and none is out.
    pub(crate) fn is_idle(&self) -> bool {
        self.wait_queue.is_empty() && self.busy.is_empty() && self.health.in_flight() == 0
    }

    pub(crate) fn status(&self, now: SystemTime) -> DestinationStatus {
        let first = self.wait_queue.first_due().map(|due| match due {
            Micros::FIRST => now,
            due => due.time(),
        });
        let until = self.health.down_until();
        DestinationStatus {
            name: self.key.clone(),
            waiting: self.wait_queue.len(),
            in_flight: self.health.in_flight(),
            limit: self.health.limit(),
            next_attempt: first
                .filter(|_| !self.is_suspended)
                .map(|due| until.map_or(due, |until| until.max(due))),
            is_suspended: self.is_suspended,
            trouble: self.health.trouble().cloned(),
        }
    }
}
