//! The way to the running task: what others may ask of it.
//!
//! Commands wait in a channel without a bound. It stays short because the runner never waits for
//! I/O and takes commands in on every turn: what is in it has been accepted during one turn, and
//! accepting a message takes a sync of the disk.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relay_message::{Deliver, DestinationKey, Message, QueueId};
use relay_smtp::Mailbox;
use tokio::sync::{mpsc, oneshot};

use crate::destination_queue::DestinationStatus;
use crate::hold::{HoldRule, HoldRules};
use crate::recipients::Work;
use crate::retry::RetryPolicy;
use crate::rules::{Concurrency, Rules};
use crate::sign::Sign;

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name.
    pub hostname: String,
    /// Who is told of bounces that fail.
    pub postmaster: Mailbox,
    /// How long and how often to try.
    pub retry: RetryPolicy,
    /// How much at once.
    pub concurrency: Concurrency,
    /// How senders are told.
    pub reports: ReportPolicy,
    /// What signs reports, if anything does.
    pub signer: Option<Arc<dyn Sign>>,
    /// The rules at the start. A reload does not change the current ones:
    /// [`Handle::suspend`], [`Handle::resume`] and [`Handle::hold_incoming`] do.
    pub standing_rules: StandingRules,
}

/// Rules that apply until the operator removes them. The caller keeps them over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandingRules {
    /// Destinations that nothing is to be sent to.
    pub suspended: Vec<DestinationKey>,
    /// What is held as it comes in.
    pub hold_incoming: Vec<HoldRule>,
}

/// How senders are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportPolicy {
    /// How long a message waits until a sender that asked for nothing is told of the delay; `None`
    /// if only those are told who asked.
    pub delay_notice: Option<Duration>,
    /// Reports of failures to one sender, or to the postmaster, within an hour, and as many of anything
    /// else; what goes beyond is discarded.
    /// What the operator returns is reported to senders in any case.
    pub per_sender: u32,
}

impl Default for ReportPolicy {
    fn default() -> Self {
        Self {
            delay_notice: None,
            per_sender: 100,
        }
    }
}

/// When those are told of a delay who asked, unless the operator has chosen a time.
const NOTICE_AFTER: Duration = Duration::from_hours(4);

impl Config {
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            retry: self.retry,
            concurrency: self.concurrency,
            notice_after: self.reports.delay_notice.unwrap_or(NOTICE_AFTER),
        }
    }
}

/// How the queue stands at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// Attempts under way.
    pub in_flight: u32,
    /// Jobs (a message at a destination) that wait.
    pub waiting: usize,
    /// Whether the queue on disk has been read whole since the start, or since a reload.
    pub is_complete: bool,
    /// Why nothing begins, if the store does not do as asked.
    pub store_trouble: Option<StoreTrouble>,
    /// The destinations that have work.
    pub destinations: Vec<DestinationStatus>,
    /// Reports that were not made since the start, for their senders had had too many.
    pub reports_suppressed: u64,
    /// The destinations that are suspended, with work or without.
    pub suspended: Vec<DestinationKey>,
    /// What is being delivered right now, where to.
    pub deliveries: Vec<(QueueId, DestinationKey)>,
}

/// A store that does not do as asked: until it does, nothing is begun that could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTrouble {
    /// When that began.
    pub since: SystemTime,
    /// What it said last.
    pub reason: String,
}

/// What the operator wants of single messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Retry,
    Bounce,
    Hold,
    Release,
    Delete,
    /// Hold what has just come in, however often the store has to be asked.
    HoldNew,
    /// Look at a message again that was released while it was worked on.
    Reread,
}

/// What a verb has changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Messages that it changed something for. What it changed survives a power cut, but for those
    /// that are `pending`.
    pub changed: usize,
    /// Messages of them that are returned to their senders when what is under way has ended, unless
    /// that delivers them or this process ends first.
    pub pending: usize,
    /// Messages of them that were given up without anybody being told: there is nobody, or nobody
    /// who wants it.
    pub untold: usize,
    /// Messages that the store did not do as asked for, and what it said. After a good hundred of
    /// them the rest is left alone.
    pub problems: Vec<(QueueId, String)>,
}

pub(crate) enum Command {
    Accepted(Work),
    /// What has just come in is to be held.
    Hold(QueueId),
    Reconfigure(Box<Config>),
    Apply(Verb, Vec<QueueId>, oneshot::Sender<Applied>),
    Suspend(DestinationKey, oneshot::Sender<bool>),
    Resume(DestinationKey, oneshot::Sender<bool>),
    Status(oneshot::Sender<Status>),
    Shutdown(Duration, oneshot::Sender<()>),
}

/// The way to a running sender.
#[derive(Debug)]
pub struct Handle<D> {
    commands: mpsc::UnboundedSender<Command>,
    deliver: Arc<D>,
    holds: HoldRules,
}

impl<D> Clone for Handle<D> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            deliver: Arc::clone(&self.deliver),
            holds: self.holds.clone(),
        }
    }
}

impl<D: Deliver> Handle<D> {
    pub(crate) fn new(
        commands: mpsc::UnboundedSender<Command>,
        deliver: Arc<D>,
        holds: HoldRules,
    ) -> Self {
        Self {
            commands,
            deliver,
            holds,
        }
    }

    /// A message has been committed to the queue.
    pub fn accepted(&self, message: &Message) {
        if self.holds.hold(message) {
            self.send(Command::Hold(message.id));
            return;
        }
        self.send(Command::Accepted(Work::of(message, &*self.deliver)));
    }

    /// Other numbers, and perhaps other routes: all waiting jobs are scheduled again.
    pub fn reconfigure(&self, config: Config) {
        self.send(Command::Reconfigure(Box::new(config)));
    }

    /// Has these messages tried now, due or not, back-off or not. It changes nothing for one that is
    /// held, is being tried, or waits for a destination that is suspended.
    ///
    /// `None` from this and the other verbs when the sender is being shut down, so that these
    /// messages, or most of them, are as they were.
    pub async fn retry(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Retry, ids).await
    }

    /// Gives these messages up and reports to their senders, however many reports those get; once what
    /// is under way has ended.
    pub async fn bounce(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Bounce, ids).await
    }

    /// Holds these messages: nothing more is tried until they are released. What is under way goes
    /// on and is recorded.
    pub async fn hold(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Hold, ids).await
    }

    /// Ends what [`Self::hold`] began; what is released is tried now.
    pub async fn release(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Release, ids).await
    }

    /// Removes these messages, and nobody is told. What is under way may still be delivered, and is
    /// not tried again.
    pub async fn delete(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Delete, ids).await
    }

    /// Holds what comes in from now on by these rules, and by no others.
    pub fn hold_incoming(&self, rules: Vec<HoldRule>) {
        self.holds.replace(rules);
    }

    /// Begins nothing more at a destination until it is resumed. Whether it was not suspended before.
    pub async fn suspend(&self, destination: DestinationKey) -> bool {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Suspend(destination, answer));
        answered.await.unwrap_or_default()
    }

    /// Ends what [`Self::suspend`] began; whether it had.
    pub async fn resume(&self, destination: DestinationKey) -> bool {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Resume(destination, answer));
        answered.await.unwrap_or_default()
    }

    async fn apply_verb(&self, verb: Verb, ids: Vec<QueueId>) -> Option<Applied> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Apply(verb, ids, answer));
        answered.await.ok()
    }

    /// How the queue stands; `None` when the sender has been shut down.
    pub async fn status(&self) -> Option<Status> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Status(answer));
        answered.await.ok()
    }

    /// Starts nothing more, waits for what is under way for at most `bound`, breaks off what has
    /// not ended by then, which is tried again at the next start, and ends.
    pub async fn shutdown(&self, bound: Duration) {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Shutdown(bound, answer));
        let _ = answered.await;
    }

    /// After the shutdown nobody listens, and nobody needs to: the store knows every message.
    fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}
