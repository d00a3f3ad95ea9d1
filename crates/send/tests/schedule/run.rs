//! The schedule driven by events, next to a plain model of what it must hold.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_message::{DestinationKey, QueueId};
use relay_send::destination::Feedback;
use relay_send::schedule::{Due, Job, Schedule, ScheduleLimits, Task, Wait};
use relay_send::{Concurrency, RetryPolicy};
use relay_smtp::{EnhancedStatus, Outcome, Stage, Verdict};

pub const POLICY: RetryPolicy = RetryPolicy {
    lifetime: Duration::from_hours(24),
    unit: Duration::from_secs(100),
    max_interval: Duration::from_hours(1),
};
pub const CONCURRENCY: Concurrency = Concurrency {
    overall: 7,
    per_destination: 4,
};
pub const LIMITS: ScheduleLimits = ScheduleLimits {
    retry: POLICY,
    concurrency: CONCURRENCY,
    notice_after: Duration::from_hours(4),
};

/// What happens next.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A message arrives, due so many seconds from now.
    Arrive {
        destination: usize,
        due: u64,
        owes_notice: bool,
    },
    /// The next job begins, if one may.
    Begin,
    /// The attempt under way that began first ends.
    End(Ending),
    /// Seconds pass.
    Pass(u64),
    /// The operator retries one destination, or all.
    Retry(Option<usize>),
    /// The operator retries the n-th message.
    RetryOne(usize),
    /// The operator holds or deletes the n-th message.
    Withdraw(usize),
    /// The operator suspends a destination (`true`) or resumes it.
    Suspend(usize, bool),
    /// All waiting jobs are forgotten and scheduled again.
    Reload,
}

#[derive(Debug, Clone, Copy)]
pub enum Ending {
    Delivered,
    /// One message is refused, and is tried again in so many seconds.
    Later(u64),
    /// The destination is in trouble.
    Trouble,
    /// No attempt was made.
    Nothing,
}

pub fn key(destination: usize) -> DestinationKey {
    DestinationKey(format!("d{destination}.test").into())
}

pub fn trouble() -> Outcome {
    Outcome {
        verdict: Verdict::Deferred,
        status: EnhancedStatus::transient(4, 1),
        stage: Stage::Connect,
        peer: None,
        reply: None,
        detail: "connection refused".into(),
    }
}

/// The schedule, and a plain model of what it must hold.
pub struct Run {
    pub schedule: Schedule,
    pub now: SystemTime,
    next_id: u64,
    /// Every message that is not delivered or given up.
    pub queued: BTreeMap<QueueId, (DestinationKey, Wait)>,
    pub under_way: Vec<Job>,
    /// Jobs that the operator wants tried even if they are not due.
    forced: HashSet<QueueId>,
    suspended: HashSet<DestinationKey>,
}

impl Run {
    pub fn new() -> Self {
        Self {
            schedule: Schedule::new(LIMITS),
            now: UNIX_EPOCH + Duration::from_hours(500_000),
            next_id: 1,
            queued: BTreeMap::new(),
            under_way: Vec::new(),
            forced: HashSet::new(),
            suspended: HashSet::new(),
        }
    }

    pub fn happens(&mut self, event: Event) {
        match event {
            Event::Arrive {
                destination,
                due,
                owes_notice,
            } => self.arrive(&key(destination), due, owes_notice),
            Event::Begin => drop(self.begin()),
            Event::End(ending) => self.end(ending),
            Event::Pass(seconds) => self.now += Duration::from_secs(seconds),
            Event::Retry(destination) => self.retry(destination.map(key).as_ref()),
            Event::RetryOne(n) => self.retry_one(n),
            Event::Withdraw(n) => self.withdraw(n),
            Event::Suspend(n, on) => self.suspend(key(n), on),
            Event::Reload => self.reload(),
        }
        self.assert_bounds();
    }

    pub fn arrive(&mut self, key: &DestinationKey, due: u64, owes_notice: bool) {
        let wait = Wait {
            id: QueueId::from_bits(self.next_id),
            arrived: self.now,
            due: Due::At(self.now + Duration::from_secs(due)),
            owes_notice,
        };
        self.next_id += 1;
        self.insert(key.clone(), wait);
    }

    fn insert(&mut self, key: DestinationKey, wait: Wait) {
        self.schedule.insert(wait, &key);
        self.queued.insert(wait.id, (key, wait));
    }

    /// Begins a job. Returns whether there was one.
    pub fn begin(&mut self) -> bool {
        let Some(job) = self.schedule.poll(self.now) else {
            let deadline = self.schedule.next_deadline();
            assert!(
                deadline.is_none_or(|at| at > self.now),
                "the schedule asks for polls without end"
            );
            return false;
        };
        assert!(self.under_way.iter().all(|out| out.id != job.id), "twice");
        let (key, wait) = self
            .queued
            .get(&job.id)
            .expect("it was inserted and is not over");
        assert_eq!(*key, job.destination);
        match &job.task {
            Task::Attempt => assert!(self.is_due(wait), "{wait:?} at {:?}", self.now),
            Task::Force => assert!(self.forced.contains(&job.id)),
            Task::Notice(_) => {
                assert!(wait.owes_notice && wait.arrived + LIMITS.notice_after <= self.now);
            }
            Task::Expire(_) => assert!(POLICY.expiry(wait.arrived) <= self.now),
        }
        self.take_on(job);
        true
    }

    fn take_on(&mut self, job: Job) {
        let is_notice = matches!(job.task, Task::Notice(_));
        assert!(is_notice || !self.suspended.contains(&job.destination));
        match &job.task {
            Task::Attempt | Task::Force => self.under_way.push(job),
            Task::Expire(_) => {
                self.schedule.settled(job.id, &job.destination);
                self.queued.remove(&job.id);
            }
            Task::Notice(_) => {
                self.schedule.settled(job.id, &job.destination);
                let (key, mut wait) = self.queued.remove(&job.id).expect("the message is queued");
                wait.owes_notice = false;
                self.insert(key, wait);
            }
        }
    }

    fn is_due(&self, wait: &Wait) -> bool {
        match wait.due {
            Due::At(time) => time <= self.now,
            Due::Recovery { since, .. } => since <= self.now,
        }
    }

    pub fn end(&mut self, ending: Ending) {
        if self.under_way.is_empty() {
            return;
        }
        let job = self.under_way.remove(0);
        let feedback = match ending {
            Ending::Delivered | Ending::Later(_) => Feedback::Answered,
            Ending::Trouble => Feedback::Trouble(trouble().into()),
            Ending::Nothing => Feedback::Nothing,
        };
        self.schedule.finished(&job.destination, feedback, self.now);
        self.schedule.settled(job.id, &job.destination);
        let Some((key, wait)) = self.queued.remove(&job.id) else {
            return;
        };
        let due = match ending {
            Ending::Delivered => return,
            Ending::Later(seconds) => Due::At(self.now + Duration::from_secs(seconds)),
            Ending::Nothing => Due::At(self.now),
            Ending::Trouble => Due::Recovery {
                since: self.now,
                otherwise: POLICY.next_attempt(wait.arrived, self.now, 0.5),
            },
        };
        self.insert(key, Wait { due, ..wait });
    }

    fn is_out(&self, id: QueueId) -> bool {
        self.under_way.iter().any(|job| job.id == id)
    }

    fn retry(&mut self, key: Option<&DestinationKey>) {
        let meant: Vec<_> = self
            .queued
            .iter()
            .filter(|(_, (k, _))| key.is_none_or(|key| key == k) && !self.suspended.contains(k))
            .map(|(id, (k, wait))| (*id, k.clone(), wait.arrived))
            .collect();
        for (id, key, arrived) in meant {
            let is_new = self.schedule.retry_job(id, arrived, &key);
            assert_eq!(is_new, !self.is_out(id));
            self.forced.insert(id);
        }
    }

    fn retry_one(&mut self, n: usize) {
        let Some((id, (key, wait))) = self.queued.iter().nth(n) else {
            return;
        };
        let is_meant = !self.is_out(*id) && !self.suspended.contains(key);
        assert_eq!(self.schedule.retry_job(*id, wait.arrived, key), is_meant);
        self.forced.insert(*id);
    }

    fn withdraw(&mut self, n: usize) {
        let Some((&id, (key, wait))) = self.queued.iter().nth(n) else {
            return;
        };
        self.schedule.withdraw(id, wait.arrived, key);
        if !self.is_out(id) {
            self.queued.remove(&id);
        }
    }

    pub fn suspend(&mut self, key: DestinationKey, on: bool) {
        if on {
            assert_eq!(self.schedule.suspend(&key), self.suspended.insert(key));
        } else {
            assert_eq!(self.schedule.resume(&key), self.suspended.remove(&key));
        }
    }

    fn reload(&mut self) {
        self.schedule.forget_waiting();
        self.schedule.configure(LIMITS, self.now);
        for (key, wait) in self.queued.values() {
            self.schedule.insert(*wait, key);
        }
        self.schedule.all_inserted();
    }

    fn assert_bounds(&self) {
        let out = self.under_way.len();
        assert_eq!(self.schedule.in_flight() as usize, out);
        assert!(out <= CONCURRENCY.overall as usize);
        assert_eq!(self.schedule.waiting(), self.queued.len() - out);
        for n in 0..4 {
            let key = key(n);
            let here = self.under_way.iter().filter(|job| job.destination == key);
            assert!(here.count() <= CONCURRENCY.per_destination as usize);
        }
    }

    /// Delivers everything at the first attempt from now on. No message may be left.
    pub fn drain(&mut self) {
        (0..4).for_each(|n| self.suspend(key(n), false));
        for _ in 0..10_000 {
            while self.begin() {}
            if self.under_way.is_empty() {
                let Some(deadline) = self.schedule.next_deadline() else {
                    break;
                };
                self.now = self.now.max(deadline);
            }
            self.end(Ending::Delivered);
        }
        assert!(self.queued.is_empty(), "still queued: {:?}", self.queued);
        self.assert_bounds();
    }
}
