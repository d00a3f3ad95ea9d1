//! One destination in the schedule: its line, its health, and what of it is under way.

use std::collections::HashSet;
use std::time::SystemTime;

use relay_message::{DestinationKey, QueueId};

use crate::destination::Health;
use crate::line::{Age, Line, Moment};
use crate::schedule::{DestinationStatus, Due, Rules, Task, Wait};

/// Jobs in doubt that are remembered: more than a destination has attempts under way is of no use.
const DOUBTS: usize = 100;

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) key: DestinationKey,
    pub(crate) health: Health,
    pub(crate) line: Line,
    /// Jobs that were handed out and have not come back.
    pub(crate) busy: HashSet<QueueId>,
    pub(crate) place: Place,
    /// The operator has it left alone.
    pub(crate) is_suspended: bool,
    /// Jobs that met trouble which is not known yet to be the destination's.
    doubts: Vec<(Age, Moment)>,
}

/// Where a destination waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Nowhere,
    Timer(Moment),
    Ring,
}

impl Site {
    pub(crate) fn new(key: DestinationKey, max: u32) -> Self {
        Self {
            key,
            health: Health::new(max),
            line: Line::default(),
            busy: HashSet::new(),
            place: Place::Nowhere,
            is_suspended: false,
            doubts: Vec::new(),
        }
    }

    /// Puts a job in line; whether it was not there.
    pub(crate) fn insert(&mut self, wait: Wait) -> bool {
        if self.busy.contains(&wait.id) {
            return false;
        }
        let age = Age::new(wait.arrived, wait.id);
        let due = match wait.due {
            Due::At(time) => time,
            Due::Recovery { since, .. } if self.health.trouble().is_some() => since,
            Due::Recovery { since, otherwise } => {
                if self.health.in_flight() > 0 && self.doubts.len() < DOUBTS {
                    self.doubts.push((age, Moment::of(since)));
                }
                otherwise
            }
        };
        let is_new = self.line.insert(age, Moment::of(due));
        if wait.owes_notice {
            self.line.owe_notice(age);
        }
        is_new
    }

    /// Once the destination is known to be down, or not, so is what jobs in doubt wait for.
    pub(crate) fn settle_doubts(&mut self) {
        let is_down = self.health.trouble().is_some();
        if is_down {
            for (age, since) in self.doubts.drain(..) {
                self.line.advance(age, since);
            }
        } else if self.health.in_flight() == 0 || self.health.has_answered() {
            self.doubts.clear();
        }
    }

    pub(crate) fn forget_waiting(&mut self) {
        self.line = Line::default();
        self.doubts = Vec::new();
        self.place = Place::Nowhere;
    }

    /// The first job that may begin now, taken out of the line.
    pub(crate) fn next_job(&mut self, rules: &Rules, now: SystemTime) -> Option<(Age, Task)> {
        let mail = if self.is_suspended {
            None
        } else {
            self.attempt(now).or_else(|| self.expire(rules, now))
        };
        let (age, task) = mail.or_else(|| self.give_notice(rules, now))?;
        self.busy.insert(age.id());
        Some((age, task))
    }

    fn attempt(&mut self, now: SystemTime) -> Option<(Age, Task)> {
        if !self.health.has_slot(now) {
            return None;
        }
        if let Some(age) = self.line.take_forced() {
            return Some((age, Task::Force));
        }
        let age = self.line.take_due(Moment::reached(now))?;
        Some((age, Task::Attempt))
    }

    fn expire(&mut self, rules: &Rules, now: SystemTime) -> Option<(Age, Task)> {
        let trouble = self.health.trouble()?;
        let oldest = self.line.oldest()?;
        if oldest.expiry(&rules.retry) > now {
            return None;
        }
        let task = Task::Expire(Box::new(trouble.clone()));
        self.line.remove(oldest);
        Some((oldest, task))
    }

    fn give_notice(&mut self, rules: &Rules, now: SystemTime) -> Option<(Age, Task)> {
        let untold = self.line.first_untold()?;
        if untold.notice(rules.notice_after) > now {
            return None;
        }
        self.line.remove(untold);
        let trouble = self.health.trouble().cloned().map(Box::new);
        Some((untold, Task::Notice(trouble)))
    }

    /// When there is something to do, not counting what waits for a slot.
    pub(crate) fn wake_at(&self, rules: &Rules) -> Option<Moment> {
        let untold = self.line.first_untold();
        let notice = untold.map(|age| Moment::of(age.notice(rules.notice_after)));
        notice.into_iter().chain(self.wake_for_mail(rules)).min()
    }

    fn wake_for_mail(&self, rules: &Rules) -> Option<Moment> {
        if self.is_suspended {
            return None;
        }
        let due = self.line.first_due()?;
        let Some(until) = self.health.down_until() else {
            return (!self.health.is_full()).then_some(due);
        };
        let oldest = self.line.oldest();
        let expiry = oldest.map(|age| Moment::of(age.expiry(&rules.retry)));
        let probe = (!self.health.is_full()).then(|| due.max(Moment::of(until)));
        expiry.into_iter().chain(probe).min()
    }

    /// Whether nothing waits and nothing is out.
    pub(crate) fn is_idle(&self) -> bool {
        self.line.is_empty() && self.busy.is_empty() && self.health.in_flight() == 0
    }

    pub(crate) fn status(&self, now: SystemTime) -> DestinationStatus {
        let first = self.line.first_due().map(|due| match due {
            Moment::FIRST => now,
            due => due.time(),
        });
        let until = self.health.down_until();
        DestinationStatus {
            name: self.key.clone(),
            waiting: self.line.len(),
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
