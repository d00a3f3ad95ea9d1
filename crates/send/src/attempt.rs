//! One job from claim to settlement: an attempt or an expiry.

pub(crate) mod claimed_job;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use relay_message::{Claim, Deliver, Message, Progress, QueueStore, QueuedRecipient, StoreError};
use relay_smtp::Outcome;

use crate::active_message::MessageClaim;
use crate::attempt::claimed_job::{ClaimedJob, Times, unless_it_panics};
use crate::clock::Clock;
use crate::completion::{Completion, NotifyOnDrop, Store};
use crate::context::Context;
use crate::destination::Feedback;
use crate::draft::Draft;
use crate::events;
use crate::job::{Due, Job, Task};
use crate::recipients::{self, DelayNotice, DestinationWork, Work};

impl<S: QueueStore, D: Deliver, C: Clock> Context<S, D, C> {
    /// Does one job. It always ends with a completion, so that the runner frees the job.
    pub(crate) async fn work(
        self: Arc<Self>,
        job: Job,
        delivery: u64,
        message_claim: Arc<MessageClaim>,
    ) {
        let now = self.clock.now();
        let later = self.policy.next_attempt(job.arrived, now, 0.0);
        let on_panic =
            Completion::Settled(job.destination.clone(), rest(&job, later), Store::Unknown);
        let last = NotifyOnDrop::new(&self.completions, on_panic);
        let (work, store) = match self.try_work(&job, delivery, &message_claim).await {
            Ok(work) => (work, Store::Works),
            Err(e) => self.after_error(&job, &e),
        };
        last.notify(Completion::Settled(job.destination, work, store));
    }

    async fn try_work(
        &self,
        job: &Job,
        delivery: u64,
        message_claim: &Arc<MessageClaim>,
    ) -> Result<Work, StoreError> {
        let slot = job.task.takes_slot().then(|| {
            let nothing = Completion::Finished(job.destination.clone(), Feedback::Nothing);
            NotifyOnDrop::new(&self.completions, nothing)
        });
        let hold = message_claim
            .reserve(&*self.store, job.id, |message, taken| {
                self.choose(message, taken, job)
            })
            .await?;
        let Some((claim, message, reservation)) = hold else {
            return Ok(gone(job));
        };
        let mine = reservation.recipients();
        if mine.is_empty() {
            return Ok(self.left(&message, job, mine, message_claim));
        }
        let claimed = ClaimedJob {
            job,
            delivery,
            message: &message,
            mine,
        };
        let draft = match self.draft(claim, &claimed, slot).await {
            // A body that cannot be read delays its own message only.
            Err(e @ StoreError::Io { .. }) => {
                events::store_error("opening", job.id, &e);
                return Ok(rest(job, self.later(message.arrived)));
            }
            drafted => drafted?,
        };
        let Some(message) = self.settle(claim, &message, draft).await? else {
            return Ok(gone(job));
        };
        message_claim.settled();
        Ok(self.left(&message, job, mine, message_claim))
    }

    async fn draft(
        &self,
        claim: Claim,
        claimed: &ClaimedJob<'_>,
        slot: Option<NotifyOnDrop>,
    ) -> Result<Draft, StoreError> {
        match &claimed.job.task {
            Task::Attempt | Task::Force => self.attempt(claim, claimed, slot).await,
            Task::Expire(trouble) => Ok(self.expire(claimed, trouble)),
            Task::Notice(trouble) => self.notice(claim, claimed, trouble.as_deref()).await,
        }
    }

    /// Returns the recipients of a job.
    fn choose(&self, message: &Message, taken: &BTreeSet<usize>, job: &Job) -> Vec<usize> {
        if message.held {
            return Vec::new();
        }
        if let Task::Notice(_) = job.task {
            return recipients::untold(message, taken, &self.reports);
        }
        let now = self.clock.now();
        let is_old = now >= self.policy.expiry(message.arrived);
        recipients::choose(
            message,
            &job.task,
            |recipient| self.is_here(message, recipient, job),
            taken,
            |next| is_old || self.policy.plausible(next, now) <= now,
        )
    }

    async fn attempt(
        &self,
        claim: Claim,
        claimed: &ClaimedJob<'_>,
        slot: Option<NotifyOnDrop>,
    ) -> Result<Draft, StoreError> {
        let content = self.store.open(claim).await?;
        let destination = &claimed.job.destination;
        let recipients = claimed.mine.len();
        events::starting_delivery(claimed.delivery, claim.id, destination, recipients);
        let times = Times::new(self.clock.now());
        let attempt = claimed.attempt(content, Arc::clone(&times.progress) as Arc<dyn Progress>);
        let mut outcomes = unless_it_panics(self.deliver.deliver(attempt)).await;
        if let Some(slot) = slot {
            let feedback = recipients::feedback(&outcomes);
            slot.notify(Completion::Finished(destination.clone(), feedback));
        }
        outcomes.resize_with(recipients, recipients::without_outcome);
        relay_failpoint::point("attempted");
        let ended = self.clock.now();
        claimed.log(&outcomes, &times, ended);
        let ClaimedJob { message, mine, .. } = claimed;
        let relayed = claimed.relayed(&outcomes, &times.progress);
        let changes = recipients::changes(message, mine, outcomes, &self.policy, ended);
        let report = self
            .relay_notice(claim, message, &changes, &relayed)
            .await?;
        Ok(Draft {
            changes,
            report,
            told_of_delay: Vec::new(),
        })
    }

    fn expire(&self, claimed: &ClaimedJob, trouble: &Outcome) -> Draft {
        let now = self.clock.now();
        Draft {
            changes: recipients::expire(claimed.message, claimed.mine, trouble, now),
            report: None,
            told_of_delay: Vec::new(),
        }
    }

    fn later(&self, arrived: SystemTime) -> SystemTime {
        let chance = fastrand::f64();
        self.policy.next_attempt(arrived, self.clock.now(), chance)
    }

    fn after_error(&self, job: &Job, e: &StoreError) -> (Work, Store) {
        match e {
            StoreError::ClaimLost(_) => {
                events::claim_lost(job.id);
                (gone(job), Store::Works)
            }
            e if e.is_transient() => {
                events::store_error("working on", job.id, e);
                (rest(job, self.clock.now()), Store::Fails(e.to_string()))
            }
            _ => (gone(job), Store::Works),
        }
    }

    fn is_here(&self, message: &Message, recipient: &QueuedRecipient, job: &Job) -> bool {
        self.deliver.destination_of(message, recipient) == job.destination
    }

    /// Returns the work left after a job: for its own recipients, wherever their mail goes now, and
    /// for others at its destination. Recipients in other attempts are left to those.
    fn left(
        &self,
        message: &Message,
        job: &Job,
        mine: &[usize],
        message_claim: &MessageClaim,
    ) -> Work {
        let taken = message_claim.taken();
        let is_ours = |index: &usize| mine.binary_search(index).is_ok();
        let all_destinations = message.recipients.iter().enumerate().filter_map(|(i, r)| {
            let due = recipients::due_after(r, message.arrived, &self.policy)?;
            let is_free = !message.held && (is_ours(&i) || !taken.contains(&i));
            let destination =
                is_free.then(|| self.deliver.destination(&message.sender, &r.to.path))?;
            let delay_notice = DelayNotice::of(message, r);
            (is_ours(&i) || destination == job.destination).then_some(DestinationWork {
                destination,
                due,
                delay_notice,
            })
        });
        Work {
            jobs: recipients::jobs(all_destinations),
            owes_report: recipients::owes_report(message),
            is_gone: false,
            ..gone(job)
        }
    }
}

/// Returns the work on a message that has left the queue: none.
fn gone(job: &Job) -> Work {
    Work {
        id: job.id,
        arrived: job.arrived,
        jobs: Vec::new(),
        owes_report: false,
        is_gone: true,
    }
}

/// Returns the whole job again, due at `due`.
fn rest(job: &Job, due: SystemTime) -> Work {
    let destination_work = DestinationWork {
        destination: job.destination.clone(),
        due: Due::At(due),
        // The record shows whether the sender has asked.
        delay_notice: DelayNotice::Asked,
    };
    Work {
        jobs: vec![destination_work],
        is_gone: false,
        ..gone(job)
    }
}
