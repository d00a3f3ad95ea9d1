//! One job from claim to settlement: an attempt or an expiry.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use relay_queue::{
    Claim, Content, Message, QueueId, QueueStore, RecipientChange, Settlement, StoreError,
};
use relay_smtp::Outcome;
use tokio::sync::mpsc;

use crate::bounce::Reporter;
use crate::clock::Clock;
use crate::deliver::{Attempt, Deliver, Progress};
use crate::destination::Feedback;
use crate::events::{self, Delays};
use crate::flight::Docket;
use crate::news::{LastWord, News, Store};
use crate::recipients::{self, Todo};
use crate::retry::RetryPolicy;
use crate::schedule::{Due, Job, Task};

/// How long to wait before a store that failed is asked again.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(2);

/// What the tasks of one moment share; a reload makes a new one for those that come after.
#[derive(Debug)]
pub(crate) struct Context<S, D, C> {
    pub(crate) store: Arc<S>,
    pub(crate) deliver: Arc<D>,
    pub(crate) clock: C,
    pub(crate) policy: RetryPolicy,
    pub(crate) reporter: Reporter,
    pub(crate) news: mpsc::UnboundedSender<News>,
}

impl<S: QueueStore, D: Deliver, C: Clock> Context<S, D, C> {
    /// Does one job; always ends by telling the runner that it is no longer out.
    pub(crate) async fn work(self: Arc<Self>, job: Job, delivery: u64, docket: Arc<Docket>) {
        let now = self.clock.now();
        let later = self.policy.next_attempt(job.arrived, now, 0.0);
        let if_it_panics =
            News::Settled(job.destination.clone(), rest(&job, later), Store::Unknown);
        let last_word = LastWord::new(&self.news, if_it_panics);
        let (todo, store) = match self.try_work(&job, delivery, &docket).await {
            Ok(todo) => (todo, Store::Works),
            Err(e) => self.after_error(&job, &e),
        };
        last_word.tell(News::Settled(job.destination, todo, store));
    }

    async fn try_work(
        &self,
        job: &Job,
        delivery: u64,
        docket: &Arc<Docket>,
    ) -> Result<Todo, StoreError> {
        let slot = job.task.takes_slot().then(|| {
            let nothing = News::Finished(job.destination.clone(), Feedback::Nothing);
            LastWord::new(&self.news, nothing)
        });
        let now = self.clock.now();
        let choose = |message: &Message, taken: &_| {
            if message.held {
                return Vec::new();
            }
            let is_old = now >= self.policy.expiry(message.arrived);
            let is_due = |next| is_old || self.policy.plausible(next, now) <= now;
            let is_here = |r: &_| self.is_here(message, r, job);
            recipients::choose(message, &job.task, is_here, taken, is_due)
        };
        let Some(hold) = docket.reserve(&*self.store, job.id, choose).await? else {
            return Ok(nothing_left(job));
        };
        let (claim, mut message, reservation) = hold;
        let mine = reservation.recipients();
        if mine.is_empty() {
            return Ok(self.left(&message, job, mine, docket));
        }
        let changes = match &job.task {
            Task::Attempt | Task::Force => {
                let errand = Errand {
                    job,
                    delivery,
                    message: &message,
                    mine,
                };
                match self.attempt(claim, &errand, slot).await {
                    Ok(changes) => changes,
                    // A body that cannot be read holds up its own message, not the queue.
                    Err(e @ StoreError::Io { .. }) => {
                        events::store_error("opening", job.id, &e);
                        let later = self
                            .policy
                            .next_attempt(message.arrived, now, fastrand::f64());
                        return Ok(rest(job, later));
                    }
                    Err(e) => return Err(e),
                }
            }
            Task::Expire(trouble) => recipients::expire(&message, mine, trouble, now),
            Task::Notice => Vec::new(),
        };
        let settlement = Settlement {
            recipients: changes.clone(),
            ..Settlement::default()
        };
        if self.record(claim, &settlement).await? {
            events::end_msg(job.id);
            return Ok(nothing_left(job));
        }
        docket.settled();
        message.apply(changes);
        Ok(self.left(&message, job, mine, docket))
    }

    async fn attempt(
        &self,
        claim: Claim,
        errand: &Errand<'_>,
        slot: Option<LastWord>,
    ) -> Result<Vec<RecipientChange>, StoreError> {
        let content = self.store.open(claim).await?;
        let destination = &errand.job.destination;
        let recipients = errand.mine.len();
        events::starting_delivery(errand.delivery, claim.id, destination, recipients);
        let times = Times::new(self.clock.now());
        let attempt = errand.attempt(content, times.progress.clone());
        let mut outcomes = unless_it_panics(self.deliver.deliver(attempt)).await;
        if let Some(slot) = slot {
            let feedback = recipients::feedback(&outcomes);
            slot.tell(News::Finished(destination.clone(), feedback));
        }
        outcomes.resize_with(recipients, recipients::without_outcome);
        let ended = self.clock.now();
        errand.log(&outcomes, &times, ended);
        let Errand { message, mine, .. } = errand;
        Ok(recipients::changes(
            message,
            mine,
            outcomes,
            &self.policy,
            ended,
        ))
    }

    fn after_error(&self, job: &Job, e: &StoreError) -> (Todo, Store) {
        match e {
            StoreError::ClaimLost(_) => {
                events::claim_lost(job.id);
                (nothing_left(job), Store::Works)
            }
            StoreError::Damaged { .. } => (nothing_left(job), Store::Works),
            StoreError::NoRoom { .. }
            | StoreError::Io { .. }
            | StoreError::Database { .. }
            | StoreError::Locked { .. }
            | StoreError::Closed { .. } => {
                events::store_error("working on", job.id, e);
                (rest(job, self.clock.now()), Store::Fails)
            }
        }
    }

    /// Records a settlement, however often the store has to be asked: what a remote host has taken
    /// must not be sent to it again. Whether the message has left the queue.
    pub(crate) async fn record(&self, claim: Claim, what: &Settlement) -> Result<bool, StoreError> {
        loop {
            match self.store.settle(claim, what.clone()).await {
                Err(
                    e @ (StoreError::NoRoom { .. }
                    | StoreError::Io { .. }
                    | StoreError::Database { .. }
                    | StoreError::Locked { .. }
                    | StoreError::Closed { .. }),
                ) => {
                    events::store_error("recording the outcome of", claim.id, &e);
                    self.stuck(claim.id).await;
                }
                ended => return ended,
            }
        }
    }

    /// Tells that the store does not do as asked, and waits before it is asked again.
    pub(crate) async fn stuck(&self, id: QueueId) {
        let _ = self.news.send(News::Stuck(id));
        tokio::time::sleep(STORE_PAUSE).await;
    }

    fn is_here(&self, message: &Message, recipient: &relay_queue::Recipient, job: &Job) -> bool {
        self.deliver
            .destination(&message.sender, &recipient.address)
            == job.destination
    }

    /// What is left to do of a job, for the recipients that were its own, wherever their mail goes
    /// by now, and others at its destination. Those that are under way come back by themselves.
    fn left(&self, message: &Message, job: &Job, mine: &[usize], docket: &Docket) -> Todo {
        let taken = docket.taken();
        let is_ours = |index: &usize| mine.binary_search(index).is_ok();
        let waits = message.recipients.iter().enumerate().filter_map(|(i, r)| {
            let due = recipients::due_after(r, message.arrived, &self.policy)?;
            let is_free = !message.held && (is_ours(&i) || !taken.contains(&i));
            let key = is_free.then(|| self.deliver.destination(&message.sender, &r.address))?;
            (is_ours(&i) || key == job.destination).then_some((key, due))
        });
        Todo {
            jobs: recipients::jobs(waits),
            owes_report: recipients::owes_report(message),
            ..nothing_left(job)
        }
    }
}

fn nothing_left(job: &Job) -> Todo {
    Todo {
        id: job.id,
        arrived: job.arrived,
        jobs: Vec::new(),
        owes_report: false,
    }
}

/// The whole job again, at `due`.
fn rest(job: &Job, due: SystemTime) -> Todo {
    Todo {
        jobs: vec![(job.destination.clone(), Due::At(due))],
        ..nothing_left(job)
    }
}

/// What one attempt is about.
struct Errand<'a> {
    job: &'a Job,
    delivery: u64,
    message: &'a Message,
    mine: &'a [usize],
}

impl Errand<'_> {
    fn attempt(&self, content: Content, progress: Progress) -> Attempt {
        let message = self.message;
        let address = |&i: &usize| message.recipients[i].address.clone();
        Attempt {
            id: message.id,
            delivery: self.delivery,
            sender: message.sender.clone(),
            recipients: self.mine.iter().map(address).collect(),
            eight_bit: message.eight_bit,
            utf8: message.utf8,
            size: message.size,
            content,
            progress,
        }
    }

    fn log(&self, outcomes: &[Outcome], times: &Times, ended: SystemTime) {
        let message = self.message;
        for (&i, outcome) in self.mine.iter().zip(outcomes) {
            let recipient = &message.recipients[i];
            let due = recipients::due(recipient, message.arrived).unwrap_or(message.arrived);
            let delays = times.delays(message.arrived, due, ended);
            let to = recipient.address.as_str();
            events::delivery(self.delivery, message, to, outcome, delays);
        }
    }
}

/// When one attempt began, and how it goes on.
struct Times {
    began: SystemTime,
    progress: Progress,
}

impl Times {
    fn new(began: SystemTime) -> Self {
        Self {
            began,
            progress: Progress::new(),
        }
    }

    fn delays(&self, arrived: SystemTime, due: SystemTime, ended: SystemTime) -> Delays {
        let from = |time: SystemTime, to: SystemTime| to.duration_since(time).unwrap_or_default();
        // What is forced is not due yet.
        let due = due.min(self.began);
        let attempt = from(self.began, ended);
        let until_connected = self.progress.until_connected();
        let connecting = until_connected.unwrap_or(attempt).min(attempt);
        Delays {
            deferred: from(arrived, due),
            in_line: from(due, self.began),
            connecting,
            transmitting: attempt.saturating_sub(connecting),
        }
    }
}

/// What the attempt gives, nothing if it panics: a fault that one message meets must not cost the
/// others their turn, nor the message its expiry.
async fn unless_it_panics(attempt: impl Future<Output = Vec<Outcome>>) -> Vec<Outcome> {
    let mut attempt = pin!(attempt);
    let guarded = poll_fn(|context| {
        let poll = || attempt.as_mut().poll(context);
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or(Poll::Ready(Vec::new()))
    });
    guarded.await
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn delays_part_at_the_due_time_the_begin_and_the_session() {
        let times = Times::new(at(1_750));
        tokio::time::sleep(Duration::from_millis(5_400)).await;
        times.progress.connected();
        let delays = times.delays(at(0), at(1_690), at(7_330));
        assert_eq!(delays.to_string(), "1.69/0.06/5.40/0.18");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_without_a_session_was_connecting_all_the_time() {
        let times = Times::new(at(0));
        let delays = times.delays(at(0), at(0), at(30_000));
        assert_eq!(delays.to_string(), "0.00/0.00/30.00/0.00");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forced_has_waited_in_no_line() {
        let times = Times::new(at(2_000));
        let delays = times.delays(at(0), at(400_000), at(2_000));
        assert_eq!(delays.to_string(), "2.00/0.00/0.00/0.00");
    }
}
