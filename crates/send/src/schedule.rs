//! What to try next: a state machine without store, clock or tasks.
//!
//! A *job* is one message at one destination. It waits in its destination's line, ordered by the
//! time it is due; the destination waits in the list of timers for its first job, its back-off or
//! its oldest job's expiry, then in the ring of the ready, where each takes its turn. So a poll looks at no
//! job that is not due and at no destination that is not ready, however many wait.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::SystemTime;

use relay_queue::QueueId;
use relay_smtp::Outcome;

use crate::deliver::DestinationKey;
use crate::destination::{Feedback, Health};
use crate::retry::RetryPolicy;

/// Destinations without work that are remembered for what was learned about them.
const REMEMBERED: usize = 1024;

/// How much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Attempts in all (qmail: concurrencyremote).
    pub overall: u32,
    /// Attempts at one destination.
    pub per_destination: u32,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The message.
    pub id: QueueId,
    /// Where to.
    pub destination: DestinationKey,
    /// What to do.
    pub task: Task,
}

/// What is to be done with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Try to deliver.
    Attempt,
    /// Give up: the message is too old, and its destination, for this reason, not to be tried now.
    Expire(Box<Outcome>),
}

/// How one destination stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationStatus {
    /// Its name.
    pub name: DestinationKey,
    /// Jobs that wait.
    pub waiting: usize,
    /// Attempts under way.
    pub in_flight: u32,
    /// Attempts that may be under way at once.
    pub limit: u32,
    /// When its first job is due or, if it is left alone, its next probe.
    pub next_attempt: Option<SystemTime>,
    /// Why it is left alone.
    pub trouble: Option<Outcome>,
}

#[derive(Debug)]
struct Destination {
    key: DestinationKey,
    health: Health,
    waiting: BTreeSet<(SystemTime, QueueId)>,
    /// The same jobs by age, for ids sort by arrival, with the time each is due.
    by_age: BTreeMap<QueueId, SystemTime>,
    /// Jobs that were handed out and have not come back.
    busy: HashSet<QueueId>,
    place: Place,
}

/// Where a destination waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    Timer(SystemTime),
    Ring,
}

type Index = usize;

/// The schedule of the whole queue.
#[derive(Debug)]
pub struct Schedule {
    policy: RetryPolicy,
    concurrency: Concurrency,
    in_flight: u32,
    waiting: usize,
    destinations: Vec<Option<Destination>>,
    free: Vec<Index>,
    by_key: HashMap<DestinationKey, Index>,
    timers: BTreeSet<(SystemTime, Index)>,
    ring: VecDeque<Index>,
}

impl Schedule {
    /// An empty schedule.
    pub fn new(policy: RetryPolicy, concurrency: Concurrency) -> Self {
        Self {
            policy,
            concurrency,
            in_flight: 0,
            waiting: 0,
            destinations: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            timers: BTreeSet::new(),
            ring: VecDeque::new(),
        }
    }

    /// Other numbers from here on.
    pub fn configure(&mut self, policy: RetryPolicy, concurrency: Concurrency) {
        self.policy = policy;
        self.concurrency = concurrency;
    }

    /// A message waits for a destination from `due` on. A job that waits already keeps the earlier
    /// time; one that is out being worked on is not taken twice: [`Self::settled`] brings it back.
    pub fn insert(&mut self, id: QueueId, key: &DestinationKey, due: SystemTime) {
        let index = self.index(key);
        let Some(destination) = &mut self.destinations[index] else {
            return;
        };
        if destination.busy.contains(&id) {
            return;
        }
        match destination.by_age.get(&id) {
            Some(&old) if old <= due => return,
            Some(&old) => drop(destination.waiting.remove(&(old, id))),
            None => self.waiting += 1,
        }
        destination.by_age.insert(id, due);
        destination.waiting.insert((due, id));
        self.place(index);
    }

    /// The next job that may begin at `now`.
    pub fn poll(&mut self, now: SystemTime) -> Option<Job> {
        while let Some(&(at, index)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            if let Some(destination) = &mut self.destinations[index] {
                destination.place = Place::Ring;
                self.ring.push_back(index);
            }
        }
        if self.in_flight >= self.concurrency.overall {
            return None;
        }
        while let Some(index) = self.ring.pop_front() {
            let job = self.take_job(index, now);
            self.place(index);
            if job.is_some() {
                return job;
            }
        }
        None
    }

    /// When [`Self::poll`] is worth calling again if nothing else happens.
    pub fn next_deadline(&self) -> Option<SystemTime> {
        if self.in_flight >= self.concurrency.overall {
            return None;
        }
        self.timers.first().map(|&(at, _)| at)
    }

    /// An attempt has ended, so its slot is free. Its job is still out.
    pub fn finished(&mut self, key: &DestinationKey, feedback: Feedback, now: SystemTime) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let max = self.concurrency.per_destination;
        let index = self.index(key);
        if let Some(destination) = &mut self.destinations[index] {
            destination.health.finish(feedback, max, &self.policy, now);
        }
        self.place(index);
    }

    /// What became of a job has been recorded; `due` is when it is to be tried again, if at all.
    pub fn settled(&mut self, id: QueueId, key: &DestinationKey, due: Option<SystemTime>) {
        let index = self.index(key);
        if let Some(destination) = &mut self.destinations[index] {
            destination.busy.remove(&id);
        }
        match due {
            Some(due) => self.insert(id, key, due),
            None => self.drop_if_idle(index),
        }
    }

    /// Forgets every job that waits; those that are out come back as ever. Used when routes have
    /// changed and every job is to be put in its line anew.
    pub fn forget_waiting(&mut self) {
        self.waiting = 0;
        self.timers.clear();
        self.ring.clear();
        for index in 0..self.destinations.len() {
            if let Some(destination) = &mut self.destinations[index] {
                destination.waiting.clear();
                destination.by_age.clear();
                destination.place = Place::Nowhere;
            }
            self.drop_if_idle(index);
        }
    }

    /// Makes everything at a destination, or everywhere, due now, back-off or not.
    pub fn retry_now(&mut self, key: Option<&DestinationKey>, now: SystemTime) -> usize {
        let is_meant = |d: &Destination| key.is_none_or(|key| d.key == *key);
        let mut woken = 0;
        for index in 0..self.destinations.len() {
            let Some(destination) = self.destinations[index].as_mut().filter(|d| is_meant(d))
            else {
                continue;
            };
            destination.health.forget_trouble();
            destination.by_age.values_mut().for_each(|due| *due = now);
            destination.waiting = destination.by_age.keys().map(|&id| (now, id)).collect();
            woken += destination.waiting.len();
            self.place(index);
        }
        woken
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Every destination that has work or is left alone.
    pub fn status(&self) -> Vec<DestinationStatus> {
        let of = |destination: &Destination| DestinationStatus {
            name: destination.key.clone(),
            waiting: destination.waiting.len(),
            in_flight: destination.health.in_flight(),
            limit: destination.health.limit(),
            next_attempt: destination.first_due(),
            trouble: destination.health.trouble().cloned(),
        };
        let is_busy = |status: &DestinationStatus| status.waiting > 0 || status.in_flight > 0;
        self.destinations
            .iter()
            .flatten()
            .map(of)
            .filter(is_busy)
            .collect()
    }

    fn index(&mut self, key: &DestinationKey) -> Index {
        if let Some(&index) = self.by_key.get(key) {
            return index;
        }
        let destination = Destination {
            key: key.clone(),
            health: Health::new(self.concurrency.per_destination),
            waiting: BTreeSet::new(),
            by_age: BTreeMap::new(),
            busy: HashSet::new(),
            place: Place::Nowhere,
        };
        let index = if let Some(index) = self.free.pop() {
            self.destinations[index] = Some(destination);
            index
        } else {
            self.destinations.push(Some(destination));
            self.destinations.len() - 1
        };
        self.by_key.insert(key.clone(), index);
        index
    }

    fn take_job(&mut self, index: Index, now: SystemTime) -> Option<Job> {
        let destination = self.destinations[index].as_mut()?;
        destination.place = Place::Nowhere;
        let policy = self.policy;
        let (id, task) = destination.next_job(&policy, now)?;
        self.waiting -= 1;
        if task == Task::Attempt {
            self.in_flight += 1;
            destination.health.start();
        }
        Some(Job {
            id,
            destination: destination.key.clone(),
            task,
        })
    }

    /// Puts a destination where it belongs after anything about it has changed.
    fn place(&mut self, index: Index) {
        let policy = self.policy;
        let Some(destination) = &mut self.destinations[index] else {
            return;
        };
        if destination.place == Place::Ring {
            return;
        }
        let next = destination.wake_at(&policy);
        if let Place::Timer(at) = destination.place {
            if Some(at) == next {
                return;
            }
            self.timers.remove(&(at, index));
        }
        if let Some(at) = next {
            destination.place = Place::Timer(at);
            self.timers.insert((at, index));
        } else {
            destination.place = Place::Nowhere;
            self.drop_if_idle(index);
        }
    }

    fn drop_if_idle(&mut self, index: Index) {
        let is_idle = self.destinations[index].as_ref().is_some_and(|d| {
            d.waiting.is_empty() && d.busy.is_empty() && d.health.in_flight() == 0
        });
        if is_idle
            && self.by_key.len() > REMEMBERED
            && let Some(destination) = self.destinations[index].take()
        {
            self.by_key.remove(&destination.key);
            self.free.push(index);
            if let Place::Timer(at) = destination.place {
                self.timers.remove(&(at, index));
            }
        }
    }
}

impl Destination {
    /// The first job that may begin now, taken out of the line.
    fn next_job(&mut self, policy: &RetryPolicy, now: SystemTime) -> Option<(QueueId, Task)> {
        if self.health.has_slot(now) {
            let &(due, id) = self.waiting.first()?;
            if due <= now {
                self.waiting.pop_first();
                self.by_age.remove(&id);
                self.busy.insert(id);
                return Some((id, Task::Attempt));
            }
        }
        let trouble = self.health.trouble()?.clone();
        let (&oldest, &due) = self.by_age.first_key_value()?;
        if policy.expiry(oldest.time()) > now {
            return None;
        }
        self.by_age.remove(&oldest);
        self.waiting.remove(&(due, oldest));
        self.busy.insert(oldest);
        Some((oldest, Task::Expire(Box::new(trouble))))
    }

    /// When there is something to do, not counting what waits for a slot.
    fn wake_at(&self, policy: &RetryPolicy) -> Option<SystemTime> {
        let &(due, _) = self.waiting.first()?;
        let expiry = || self.by_age.keys().next().map(|id| policy.expiry(id.time()));
        match self.health.down_until() {
            None if self.health.is_full() => None,
            None => Some(due),
            Some(_) if self.health.is_full() => expiry(),
            Some(until) => Some(expiry().map_or(until.max(due), |at| at.min(until.max(due)))),
        }
    }

    fn first_due(&self) -> Option<SystemTime> {
        let &(due, _) = self.waiting.first()?;
        Some(self.health.down_until().map_or(due, |until| until.max(due)))
    }
}
