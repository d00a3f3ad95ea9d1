//! What to try next: a state machine without store, clock or tasks.
//!
//! A *job* is one message at one destination. It waits in the wait queue of its destination,
//! ordered by the time it is due. The destination waits in the list of timers for its first job,
//! the end of its back-off or the expiry of its oldest job. Then it takes its turn in the ring of
//! ready destinations. So a poll sees only jobs that are due and destinations that are ready.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::SystemTime;

use relay_message::{DestinationKey, QueueId};

use crate::destination::Feedback;
pub use crate::destination_queue::DestinationStatus;
use crate::destination_queue::{DestinationQueue, Place};
pub use crate::job::{Due, Job, Task, Wait};
pub use crate::limits::{Concurrency, ScheduleLimits};
use crate::wait_queue::{JobKey, Micros};

/// How many destinations without work are kept for what was learned about them.
const REMEMBERED: usize = 1024;

type Index = usize;

/// The schedule of the whole queue.
#[derive(Debug)]
pub struct Schedule {
    limits: ScheduleLimits,
    in_flight: u32,
    waiting: usize,
    queues: Vec<Option<Box<DestinationQueue>>>,
    free: Vec<Index>,
    by_key: HashMap<DestinationKey, Index>,
    timers: BTreeSet<(Micros, Index)>,
    ring: VecDeque<Index>,
    /// Suspended destinations, with or without work.
    suspended: HashSet<DestinationKey>,
    /// Messages that the operator wants tried and whose jobs were forgotten since.
    wanted: HashSet<QueueId>,
}

impl Schedule {
    /// Returns an empty schedule.
    pub fn new(limits: ScheduleLimits) -> Self {
        Self {
            limits,
            in_flight: 0,
            waiting: 0,
            queues: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            timers: BTreeSet::new(),
            ring: VecDeque::new(),
            suspended: HashSet::new(),
            wanted: HashSet::new(),
        }
    }

    /// Applies other limits from now on. Call it also when the clock was set back, because it bounds
    /// every back-off to the longest pause from `now`.
    pub fn configure(&mut self, limits: ScheduleLimits, now: SystemTime) {
        self.limits = limits;
        let latest = now + limits.retry.probe_pause(u32::MAX);
        for index in 0..self.queues.len() {
            if let Some(queue) = &mut self.queues[index] {
                queue
                    .health
                    .bound(limits.concurrency.per_destination, latest);
            }
            self.place(index);
        }
    }

    /// Adds a message that waits for a destination. A job that waits already keeps the earlier
    /// time. A job that is out is not added: call [`Self::settled`], then this again.
    pub fn insert(&mut self, wait: Wait, key: &DestinationKey) {
        let index = self.index(key);
        if let Some(queue) = &mut self.queues[index] {
            self.waiting += usize::from(queue.insert(wait));
        }
        self.place(index);
        if self.wanted.contains(&wait.id) {
            self.retry_job(wait.id, wait.arrived, key);
        }
    }

    /// Returns the next job that may begin at `now`.
    pub fn poll(&mut self, now: SystemTime) -> Option<Job> {
        let reached = Micros::reached(now);
        while let Some(&(at, index)) = self.timers.first() {
            if at > reached {
                break;
            }
            self.timers.pop_first();
            if let Some(queue) = &mut self.queues[index] {
                queue.place = Place::Ring;
                self.ring.push_back(index);
            }
        }
        if self.is_full() {
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

    /// Returns when to call [`Self::poll`] again if nothing else happens. 1970 means at once.
    pub fn next_deadline(&self) -> Option<SystemTime> {
        if self.is_full() {
            return None;
        }
        if !self.ring.is_empty() {
            return Some(Micros::FIRST.time());
        }
        self.timers.first().map(|&(at, _)| at.time())
    }

    /// Ends an attempt and frees its slot. Its job is still out.
    pub fn finished(&mut self, key: &DestinationKey, feedback: Feedback, now: SystemTime) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let max = self.limits.concurrency.per_destination;
        let Some(&index) = self.by_key.get(key) else {
            return;
        };
        if let Some(queue) = &mut self.queues[index] {
            queue.health.finish(feedback, max, &self.limits.retry, now);
            queue.settle_doubts();
        }
        self.place(index);
    }

    /// Ends a job whose results are recorded. The work that is left is inserted anew, perhaps at
    /// another destination.
    pub fn settled(&mut self, id: QueueId, key: &DestinationKey) {
        let Some(&index) = self.by_key.get(key) else {
            return;
        };
        if let Some(queue) = &mut self.queues[index] {
            queue.busy.remove(&id);
        }
        self.place(index);
    }

    /// Forgets all waiting jobs. Jobs that are out end as usual. Used when routes have changed and
    /// all jobs are inserted again. A message that [`Self::retry_job`] was called for is tried when
    /// it is inserted again, until [`Self::all_inserted`] is called.
    pub fn forget_waiting(&mut self) {
        self.waiting = 0;
        self.timers.clear();
        self.ring.clear();
        for index in 0..self.queues.len() {
            if let Some(queue) = &mut self.queues[index] {
                self.wanted
                    .extend(queue.wait_queue.wanted().map(JobKey::id));
                queue.forget_waiting();
            }
            self.drop_if_idle(index);
        }
    }

    /// Ends the time after [`Self::forget_waiting`]: all forgotten jobs are inserted again, except
    /// those that are gone.
    pub fn all_inserted(&mut self) {
        self.wanted = HashSet::new();
    }

    /// Makes one message due now at a destination, and ends its back-off. Returns whether the
    /// message waits there and the destination is not suspended.
    pub fn retry_job(&mut self, id: QueueId, arrived: SystemTime, key: &DestinationKey) -> bool {
        let Some(&index) = self.by_key.get(key) else {
            return false;
        };
        let mut is_woken = false;
        if let Some(queue) = &mut self.queues[index]
            && !queue.is_suspended
            && queue.wait_queue.want(JobKey::new(arrived, id))
        {
            queue.health.forget_trouble();
            is_woken = true;
        }
        self.place(index);
        is_woken
    }

    /// Takes a waiting message out of the wait queue of a destination, because it is held or
    /// deleted.
    pub fn withdraw(&mut self, id: QueueId, arrived: SystemTime, key: &DestinationKey) {
        let Some(&index) = self.by_key.get(key) else {
            return;
        };
        if let Some(queue) = &mut self.queues[index] {
            self.waiting -= usize::from(queue.wait_queue.remove(JobKey::new(arrived, id)));
        }
        self.place(index);
    }

    /// Suspends a destination: no job begins there until it is resumed, and no message expires
    /// meanwhile. Returns whether it was not suspended before.
    pub fn suspend(&mut self, key: &DestinationKey) -> bool {
        let is_new = self.suspended.insert(key.clone());
        self.set_suspended(key, true);
        is_new
    }

    /// Resumes a destination. Returns whether it was suspended.
    pub fn resume(&mut self, key: &DestinationKey) -> bool {
        let was_suspended = self.suspended.remove(key);
        self.set_suspended(key, false);
        was_suspended
    }

    /// Returns the suspended destinations, with or without work.
    pub fn suspended(&self) -> impl Iterator<Item = &DestinationKey> {
        self.suspended.iter()
    }

    fn set_suspended(&mut self, key: &DestinationKey, is_suspended: bool) {
        if let Some(&index) = self.by_key.get(key) {
            if let Some(queue) = &mut self.queues[index] {
                queue.is_suspended = is_suspended;
            }
            self.place(index);
        }
    }

    /// Returns the number of waiting jobs.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the number of attempts under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Returns the number of known destinations, with or without work.
    pub fn destinations(&self) -> usize {
        self.by_key.len()
    }

    /// Returns the state of every destination that has work.
    pub fn status(&self, now: SystemTime) -> Vec<DestinationStatus> {
        let queues = self.queues.iter().flatten();
        let busy =
            queues.filter(|queue| !queue.wait_queue.is_empty() || queue.health.in_flight() > 0);
        busy.map(|queue| queue.status(now)).collect()
    }

    fn is_full(&self) -> bool {
        self.in_flight >= self.limits.concurrency.overall
    }

    fn index(&mut self, key: &DestinationKey) -> Index {
        if let Some(&index) = self.by_key.get(key) {
            return index;
        }
        let max = self.limits.concurrency.per_destination;
        let mut queue = Box::new(DestinationQueue::new(key.clone(), max));
        queue.is_suspended = self.suspended.contains(key);
        let index = if let Some(index) = self.free.pop() {
            self.queues[index] = Some(queue);
            index
        } else {
            self.queues.push(Some(queue));
            self.queues.len() - 1
        };
        self.by_key.insert(key.clone(), index);
        index
    }

    fn take_job(&mut self, index: Index, now: SystemTime) -> Option<Job> {
        let queue = self.queues[index].as_mut()?;
        queue.place = Place::Nowhere;
        let (job_key, task) = queue.next_job(&self.limits, now)?;
        self.waiting -= 1;
        self.wanted.remove(&job_key.id());
        if task.takes_slot() {
            self.in_flight += 1;
            queue.health.start();
        }
        Some(Job {
            id: job_key.id(),
            arrived: job_key.arrived(),
            destination: queue.key.clone(),
            task,
        })
    }

    /// Puts a destination where it belongs after anything about it has changed.
    fn place(&mut self, index: Index) {
        let Some(queue) = &mut self.queues[index] else {
            return;
        };
        if queue.place == Place::Ring {
            return;
        }
        let next = queue.wake_at(&self.limits);
        if let Place::Timer(at) = queue.place {
            if Some(at) == next {
                return;
            }
            self.timers.remove(&(at, index));
        }
        if let Some(at) = next {
            queue.place = Place::Timer(at);
            self.timers.insert((at, index));
        } else {
            queue.place = Place::Nowhere;
            self.drop_if_idle(index);
        }
    }

    fn drop_if_idle(&mut self, index: Index) {
        let is_idle = self.queues[index]
            .as_ref()
            .is_some_and(|queue| queue.is_idle());
        if is_idle
            && self.by_key.len() > REMEMBERED
            && let Some(queue) = self.queues[index].take()
        {
            self.by_key.remove(&queue.key);
            self.free.push(index);
        }
    }
}
