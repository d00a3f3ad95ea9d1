//! The schedule under any order of events: no job twice at once, none lost, no bound broken, and
//! never a reason to look again at once when there is nothing to do.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::prelude::*;
use relay_queue::QueueId;
use relay_send::destination::Feedback;
use relay_send::schedule::{Due, Job, Rules, Schedule, Task, Wait};
use relay_send::{Concurrency, DestinationKey, RetryPolicy};
use relay_smtp::{EnhancedStatus, Outcome, Stage, Verdict};

const POLICY: RetryPolicy = RetryPolicy {
    lifetime: Duration::from_hours(24),
    unit: Duration::from_secs(100),
    max_interval: Duration::from_hours(1),
};
const CONCURRENCY: Concurrency = Concurrency {
    overall: 7,
    per_destination: 4,
};
const RULES: Rules = Rules {
    retry: POLICY,
    concurrency: CONCURRENCY,
    notice_after: Duration::from_hours(4),
};

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A message comes in, due so many seconds from now.
    Arrive {
        destination: usize,
        due: u64,
        owes_notice: bool,
    },
    /// Whatever may begin begins, one job at most.
    Begin,
    /// The attempt begun first of those under way ends.
    End(Ending),
    /// Seconds pass.
    Pass(u64),
    /// The operator has a destination, or all, tried now.
    Retry(Option<usize>),
    /// The operator has the n-th message tried now.
    RetryOne(usize),
    /// The operator takes the n-th message away.
    Withdraw(usize),
    /// The operator has a destination left alone, or no longer.
    Suspend(usize, bool),
    /// What waits is forgotten and put in line anew.
    Reload,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Delivered,
    /// A refusal of this message, tried again in so many seconds.
    Later(u64),
    /// The destination is in trouble.
    Trouble,
    /// No attempt was made.
    Nothing,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4usize, 0..500u64, any::<bool>()).prop_map(|(destination, due, owes_notice)| {
            Event::Arrive { destination, due, owes_notice }
        }),
        6 => Just(Event::Begin),
        4 => ending().prop_map(Event::End),
        3 => (0..4_000u64).prop_map(Event::Pass),
        1 => proptest::option::of(0..4usize).prop_map(Event::Retry),
        1 => (0..40usize).prop_map(Event::RetryOne),
        1 => (0..40usize).prop_map(Event::Withdraw),
        1 => (0..4usize, any::<bool>()).prop_map(|(n, on)| Event::Suspend(n, on)),
        1 => Just(Event::Reload),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        3 => Just(Ending::Delivered),
        2 => (0..4_000u64).prop_map(Ending::Later),
        3 => Just(Ending::Trouble),
        1 => Just(Ending::Nothing),
    ]
}

fn key(destination: usize) -> DestinationKey {
    DestinationKey(format!("d{destination}.test").into())
}

fn trouble() -> Outcome {
    Outcome {
        verdict: Verdict::Deferred,
        status: EnhancedStatus::transient(4, 1),
        stage: Stage::Connect,
        peer: None,
        reply: None,
        detail: "connection refused".into(),
    }
}

/// The schedule, and plain notes of what it was told.
struct Run {
    schedule: Schedule,
    now: SystemTime,
    next_id: u64,
    /// Every message that is not delivered or given up.
    queued: BTreeMap<QueueId, (DestinationKey, Wait)>,
    under_way: Vec<Job>,
    /// Jobs that the operator has wanted tried though they may not have been due.
    forced: HashSet<QueueId>,
    suspended: HashSet<DestinationKey>,
}

impl Run {
    fn new() -> Self {
        Self {
            schedule: Schedule::new(RULES),
            now: UNIX_EPOCH + Duration::from_hours(500_000),
            next_id: 1,
            queued: BTreeMap::new(),
            under_way: Vec::new(),
            forced: HashSet::new(),
            suspended: HashSet::new(),
        }
    }

    fn happens(&mut self, event: Event) {
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

    fn arrive(&mut self, key: &DestinationKey, due: u64, owes_notice: bool) {
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

    /// Whether there was something to do.
    fn begin(&mut self) -> bool {
        let Some(job) = self.schedule.poll(self.now) else {
            let deadline = self.schedule.next_deadline();
            assert!(
                deadline.is_none_or(|at| at > self.now),
                "it runs in circles"
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
                assert!(wait.owes_notice && wait.arrived + RULES.notice_after <= self.now);
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
                let (key, mut wait) = self.queued.remove(&job.id).expect("it is there");
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

    fn end(&mut self, ending: Ending) {
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
        let rows = self.queued.iter();
        let is_meant = |k| key.is_none_or(|key| key == k) && !self.suspended.contains(k);
        let meant = rows.filter(|(_, (k, _))| is_meant(k));
        let meant: Vec<QueueId> = meant.map(|(id, _)| *id).collect();
        let out = meant.iter().filter(|id| self.is_out(**id)).count();
        assert_eq!(self.schedule.retry_now(key), meant.len() - out);
        self.forced.extend(meant);
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

    fn suspend(&mut self, key: DestinationKey, on: bool) {
        if on {
            assert_eq!(self.schedule.suspend(&key), self.suspended.insert(key));
        } else {
            assert_eq!(self.schedule.resume(&key), self.suspended.remove(&key));
        }
    }

    fn reload(&mut self) {
        self.schedule.forget_waiting();
        self.schedule.configure(RULES, self.now);
        for (key, wait) in self.queued.values() {
            self.schedule.insert(*wait, key);
        }
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

    /// From here on everything is delivered at the first attempt: nothing may stay behind.
    fn drain(&mut self) {
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
        assert!(self.queued.is_empty(), "left behind: {:?}", self.queued);
        self.assert_bounds();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_job_is_handed_out_in_time_one_at_a_time_and_none_is_lost(events in vec(event(), 1..120)) {
        let mut run = Run::new();
        for event in events {
            run.happens(event);
        }
        run.drain();
    }

    #[test]
    fn where_nothing_ever_answers_all_is_given_up_by_the_expiry(
        arrivals in vec((0..4usize, 0..500u64), 1..40),
    ) {
        let mut run = Run::new();
        let end = run.now + POLICY.lifetime + Duration::from_secs(500);
        for (destination, due) in arrivals {
            run.arrive(&key(destination), due, false);
        }
        while run.now < end {
            while run.begin() {}
            if run.under_way.is_empty() {
                let Some(deadline) = run.schedule.next_deadline() else {
                    break;
                };
                run.now = run.now.max(deadline);
            }
            run.end(Ending::Trouble);
        }
        prop_assert!(run.queued.is_empty(), "{:?}", run.queued);
    }
}

#[test]
fn destinations_whose_work_is_done_are_forgotten_but_for_a_bounded_number() {
    let mut run = Run::new();
    for n in 0..5_000 {
        run.arrive(&key(n), 0, false);
        assert!(run.begin());
        run.end(Ending::Delivered);
    }
    assert!(
        run.schedule.destinations() <= 1024 + 1,
        "{}",
        run.schedule.destinations()
    );
}

#[test]
fn destinations_with_much_work_and_with_little_take_turns() {
    let mut run = Run::new();
    (0..10_000).for_each(|_| run.arrive(&key(0), 0, false));
    for n in 1..4 {
        run.arrive(&key(n), 0, false);
    }
    let mut order = Vec::new();
    while order.len() < 4 {
        assert!(run.begin());
        order.push(run.under_way[order.len()].destination.clone());
    }
    order.sort();
    assert_eq!(
        order,
        [0, 1, 2, 3].map(key),
        "each had a turn before any had two"
    );
}
