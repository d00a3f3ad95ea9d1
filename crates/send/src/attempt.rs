//! One job from claim to settlement: an attempt, an expiry or a report.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use relay_queue::{
    Body, Claim, Content, Message, QueueId, QueueStore, Recipient, RecipientChange, RecipientState,
    Settlement, StoreError,
};
use relay_smtp::{ForwardPath, Outcome, Stage, Verdict};
use tokio::sync::{OnceCell, mpsc};
use tokio::task;

use crate::bounce::{MAX_HEADERS, Reporter};
use crate::clock::Clock;
use crate::deliver::{Attempt, Deliver, DestinationKey};
use crate::destination::Feedback;
use crate::events::{self, Delays};
use crate::retry::RetryPolicy;
use crate::schedule::Task;

/// Recipients that share a transaction (RFC 5321 §4.5.3.1.8 has every server take as many).
const RECIPIENTS: usize = 100;
/// How long to wait before a store that failed is asked again.
const STORE_PAUSE: Duration = Duration::from_secs(2);

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

/// What a task tells the runner.
#[derive(Debug)]
pub(crate) enum News {
    /// An attempt has ended: its slot is free.
    Finished(DestinationKey, Feedback),
    /// A job has been settled.
    Settled {
        /// The message.
        id: QueueId,
        /// Where to.
        destination: DestinationKey,
        /// When the job is to be done again, if at all.
        due: Option<SystemTime>,
        /// Whether a report is owed.
        owes_report: bool,
    },
    /// A report has been made, or nobody needed one.
    Reported(QueueId),
    /// A bounce has entered the queue.
    Entered(QueueId),
}

/// The claim that all work on one message shares.
pub(crate) type SharedClaim = Arc<OnceCell<Option<Claim>>>;

/// What is left of a message after a piece of work.
struct After {
    due: Option<SystemTime>,
    owes_report: bool,
}

impl<S: QueueStore, D: Deliver, C: Clock> Context<S, D, C> {
    /// Does one job; always ends by telling the runner that it is settled.
    pub(crate) async fn work(
        self: Arc<Self>,
        id: QueueId,
        destination: DestinationKey,
        task: Task,
        delivery: u64,
        claim: SharedClaim,
    ) {
        let is_attempt = task == Task::Attempt;
        let mut slot = is_attempt.then_some(destination.clone());
        let result = self
            .try_work(id, &destination, task, delivery, &claim, &mut slot)
            .await;
        if let Some(destination) = slot.take() {
            self.tell(News::Finished(destination, Feedback::Nothing));
        }
        let after = match result {
            Ok(after) => after,
            Err(StoreError::ClaimLost(_)) => {
                events::claim_lost(id);
                After {
                    due: None,
                    owes_report: false,
                }
            }
            Err(StoreError::Damaged { .. }) => After {
                due: None,
                owes_report: false,
            },
            Err(e) => {
                events::store_error("working on", id, &e);
                After {
                    due: Some(self.clock.now() + STORE_PAUSE),
                    owes_report: false,
                }
            }
        };
        self.tell(News::Settled {
            id,
            destination,
            due: after.due,
            owes_report: after.owes_report,
        });
    }

    async fn try_work(
        &self,
        id: QueueId,
        destination: &DestinationKey,
        task: Task,
        delivery: u64,
        claim: &SharedClaim,
        slot: &mut Option<DestinationKey>,
    ) -> Result<After, StoreError> {
        let gone = After {
            due: None,
            owes_report: false,
        };
        let Some((claim, message)) = self.claim(id, claim).await? else {
            return Ok(gone);
        };
        let now = self.clock.now();
        let mine = self.due_recipients(&message, destination, now);
        if message.held || mine.is_empty() {
            return Ok(self.after(&message, destination));
        }
        let changes = match task {
            Task::Attempt => {
                events::starting_delivery(delivery, id, destination, mine.len());
                let outcomes = self.attempt(claim, &message, &mine, delivery).await?;
                if let Some(destination) = slot.take() {
                    self.tell(News::Finished(destination, feedback(&outcomes)));
                }
                self.log(delivery, &message, &mine, &outcomes, now);
                self.changes(&message, &mine, outcomes)
            }
            Task::Expire(trouble) => expire(&message, &mine, &trouble, now),
        };
        self.settle(claim, message, changes, destination).await
    }

    /// The message's record, under the claim that is shared by all work on it.
    async fn claim(
        &self,
        id: QueueId,
        shared: &SharedClaim,
    ) -> Result<Option<(Claim, Message)>, StoreError> {
        let mut first = None;
        let take = async || {
            let taken = self.store.claim(id).await?;
            Ok::<_, StoreError>(taken.map(|(claim, message)| {
                first = Some(message);
                claim
            }))
        };
        let Some(claim) = *shared.get_or_try_init(take).await? else {
            return Ok(None);
        };
        let message = match first {
            Some(message) => Some(message),
            None => self.store.get(id).await?,
        };
        Ok(message.map(|message| (claim, message)))
    }

    /// Recipients at the destination that are to be tried now, at most a transaction's worth.
    fn due_recipients(
        &self,
        message: &Message,
        destination: &DestinationKey,
        now: SystemTime,
    ) -> Vec<usize> {
        let is_due = |recipient: &Recipient| match recipient.state {
            RecipientState::Queued => true,
            RecipientState::Deferred { next_attempt } => {
                next_attempt <= now || now >= self.policy.expiry(message.arrived)
            }
            RecipientState::Done | RecipientState::Failed { .. } => false,
        };
        let here =
            |r: &Recipient| self.deliver.destination(&message.sender, &r.address) == *destination;
        let rows = message.recipients.iter().enumerate();
        rows.filter(|(_, r)| is_due(r) && here(r))
            .map(|(i, _)| i)
            .take(RECIPIENTS)
            .collect()
    }

    async fn attempt(
        &self,
        claim: Claim,
        message: &Message,
        mine: &[usize],
        delivery: u64,
    ) -> Result<Vec<Outcome>, StoreError> {
        let content = self.store.open(claim).await?;
        let address = |&i: &usize| message.recipients[i].address.clone();
        let recipients: Vec<ForwardPath> = mine.iter().map(address).collect();
        let attempt = Attempt {
            id: message.id,
            delivery,
            sender: message.sender.clone(),
            recipients,
            eight_bit: message.eight_bit,
            utf8: message.utf8,
            size: message.size,
            content,
        };
        Ok(self.deliver.deliver(attempt).await)
    }

    fn log(
        &self,
        delivery: u64,
        message: &Message,
        mine: &[usize],
        outcomes: &[Outcome],
        began: SystemTime,
    ) {
        let now = self.clock.now();
        let delays = Delays {
            total: now.duration_since(message.arrived).unwrap_or_default(),
            attempt: now.duration_since(began).unwrap_or_default(),
        };
        for (&i, outcome) in mine.iter().zip(outcomes) {
            let to = message.recipients[i].address.as_str();
            events::delivery(delivery, message, to, outcome, delays);
        }
    }

    /// What the outcomes make of the recipients.
    fn changes(
        &self,
        message: &Message,
        mine: &[usize],
        outcomes: Vec<Outcome>,
    ) -> Vec<RecipientChange> {
        let now = self.clock.now();
        let is_too_old = now >= self.policy.expiry(message.arrived);
        // One time for all, so that they share a transaction again.
        let next = self
            .policy
            .next_attempt(message.arrived, now, fastrand::f64());
        let change = |(&index, outcome): (&usize, Outcome)| RecipientChange {
            index,
            state: match outcome.verdict {
                Verdict::Delivered => RecipientState::Done,
                Verdict::Failed => RecipientState::Failed { reported: false },
                Verdict::Deferred if is_too_old => RecipientState::Failed { reported: false },
                // It waits for its destination only, which has a back-off of its own.
                Verdict::Deferred if is_trouble(&outcome) => {
                    RecipientState::Deferred { next_attempt: now }
                }
                Verdict::Deferred => RecipientState::Deferred { next_attempt: next },
            },
            attempt: Some((now, outcome)),
        };
        mine.iter().zip(outcomes).map(change).collect()
    }

    /// Records the changes, however often the store has to be asked: what a remote host has taken
    /// must not be sent to it again.
    async fn settle(
        &self,
        claim: Claim,
        mut message: Message,
        changes: Vec<RecipientChange>,
        destination: &DestinationKey,
    ) -> Result<After, StoreError> {
        loop {
            let settlement = Settlement {
                recipients: changes.clone(),
                bounces: Vec::new(),
            };
            match self.store.settle(claim, settlement).await {
                Ok(true) => {
                    events::end_msg(message.id);
                    return Ok(After {
                        due: None,
                        owes_report: false,
                    });
                }
                Ok(false) => break,
                Err(e @ (StoreError::ClaimLost(_) | StoreError::Damaged { .. })) => return Err(e),
                Err(e) => {
                    events::store_error("recording the outcome of", message.id, &e);
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
        message.apply(changes);
        Ok(self.after(&message, destination))
    }

    fn after(&self, message: &Message, destination: &DestinationKey) -> After {
        let here = |r: &&Recipient| {
            !message.held && self.deliver.destination(&message.sender, &r.address) == *destination
        };
        let due = message
            .recipients
            .iter()
            .filter(here)
            .filter_map(|r| due(r, message.arrived));
        After {
            due: due.min(),
            owes_report: owes_report(message),
        }
    }

    /// Reports what has failed and not been reported, and settles it in the same batch.
    pub(crate) async fn report(self: Arc<Self>, id: QueueId, claim: SharedClaim) {
        loop {
            match self.try_report(id, &claim).await {
                Ok(()) | Err(StoreError::Damaged { .. }) => break,
                Err(StoreError::ClaimLost(_)) => {
                    events::claim_lost(id);
                    break;
                }

                Err(e) => {
                    events::store_error("reporting the failure of", id, &e);
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
        self.tell(News::Reported(id));
    }

    async fn try_report(&self, id: QueueId, claim: &SharedClaim) -> Result<(), StoreError> {
        let Some((claim, message)) = self.claim(id, claim).await? else {
            return Ok(());
        };
        let unreported = RecipientState::Failed { reported: false };
        let failed: Vec<(usize, &Recipient)> = message
            .recipients
            .iter()
            .enumerate()
            .filter(|(_, r)| r.state == unreported)
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        let headers = header_octets(self.store.open(claim).await?).await;
        let recipients: Vec<&Recipient> = failed.iter().map(|(_, r)| *r).collect();
        let (report_id, now) = (self.store.next_id(), self.clock.now());
        let report = self
            .reporter
            .report(report_id, &message, &recipients, &headers, now);
        let to = report
            .as_ref()
            .map(|r| r.envelope.recipients[0].to_string());
        let settled = |&(index, _): &(usize, &Recipient)| RecipientChange {
            index,
            state: RecipientState::Failed { reported: true },
            attempt: None,
        };
        let settlement = Settlement {
            recipients: failed.iter().map(settled).collect(),
            bounces: report.into_iter().collect(),
        };
        let has_left = self.store.settle(claim, settlement).await?;
        match to {
            Some(to) => {
                events::bounce_msg(id, report_id, &to);
                self.tell(News::Entered(report_id));
            }
            None => events::discard(&message),
        }
        if has_left {
            events::end_msg(id);
        }
        Ok(())
    }

    /// The runner outlives its tasks, except at the very end, when nobody needs the news.
    fn tell(&self, news: News) {
        let _ = self.news.send(news);
    }
}

/// When a recipient is to be tried again.
pub(crate) fn due(recipient: &Recipient, arrived: SystemTime) -> Option<SystemTime> {
    match recipient.state {
        RecipientState::Queued => Some(arrived),
        RecipientState::Deferred { next_attempt } => Some(next_attempt),
        RecipientState::Done | RecipientState::Failed { .. } => None,
    }
}

/// Whether the sender has not been told of a failure yet.
pub(crate) fn owes_report(message: &Message) -> bool {
    let unreported = RecipientState::Failed { reported: false };
    message.recipients.iter().any(|r| r.state == unreported)
}

/// The destinations of a message that have something to do, and when.
pub(crate) fn jobs(
    message: &Message,
    destination: impl Fn(&Recipient) -> DestinationKey,
) -> Vec<(DestinationKey, SystemTime)> {
    let mut jobs: Vec<(DestinationKey, SystemTime)> = Vec::new();
    let mut seen = HashSet::new();
    for recipient in &message.recipients {
        let Some(due) = due(recipient, message.arrived) else {
            continue;
        };
        let key = destination(recipient);
        if seen.insert(key.clone()) {
            jobs.push((key, due));
        } else if let Some(job) = jobs.iter_mut().find(|(known, _)| *known == key) {
            job.1 = job.1.min(due);
        }
    }
    jobs
}

fn expire(
    message: &Message,
    mine: &[usize],
    trouble: &Outcome,
    now: SystemTime,
) -> Vec<RecipientChange> {
    let change = |&index: &usize| RecipientChange {
        index,
        state: RecipientState::Failed { reported: false },
        attempt: match message.recipients[index].last {
            Some(_) => None,
            None => Some((now, trouble.clone())),
        },
    };
    mine.iter().map(change).collect()
}

/// Up to MAIL an answer, or none, is about the destination and not about one message.
fn is_trouble(outcome: &Outcome) -> bool {
    outcome.verdict == Verdict::Deferred
        && match outcome.stage {
            Stage::Route
            | Stage::Connect
            | Stage::Greeting
            | Stage::Hello
            | Stage::Tls
            | Stage::Auth
            | Stage::Mail => true,
            // A connection that breaks says more about the host than about the message.
            Stage::Rcpt | Stage::Data | Stage::Message => outcome.reply.is_none(),
        }
}

fn feedback(outcomes: &[Outcome]) -> Feedback {
    if outcomes.is_empty() {
        return Feedback::Nothing;
    }
    match outcomes.iter().find(|outcome| is_trouble(outcome)) {
        Some(outcome) if outcomes.iter().all(is_trouble) => {
            Feedback::Trouble(outcome.clone().into())
        }
        _ => Feedback::Answered,
    }
}

/// As much of a message as its header section may be in a report.
async fn header_octets(content: Content) -> Vec<u8> {
    let mut octets = content.head.to_vec();
    match content.body {
        Body::Inline(body) => octets.extend_from_slice(&body[..body.len().min(MAX_HEADERS)]),
        Body::File { file, length } => {
            let read = task::spawn_blocking(move || read_start(&file, length));
            octets.extend_from_slice(&read.await.unwrap_or_default());
        }
    }
    octets
}

/// A report without the original's headers is better than none, so an error gives nothing.
fn read_start(file: &std::fs::File, length: u64) -> Bytes {
    use std::io::Read;
    let mut start = Vec::new();
    let limit = length.min(MAX_HEADERS as u64);
    match file.take(limit).read_to_end(&mut start) {
        Ok(_) => start.into(),
        Err(_) => Bytes::new(),
    }
}
