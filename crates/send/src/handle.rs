//! The way to the running task: what others may ask of it.
//!
//! Commands wait in a channel without a bound. It stays short because the runner never waits for
//! I/O and takes commands in on every turn: what is in it has been accepted during one turn, and
//! accepting a message takes a sync of the disk.

use std::sync::Arc;
use std::time::Duration;

use relay_message::{Deliver, DestinationKey, Message, QueueId};
use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::hold::{HoldRule, HoldRules};
use crate::recipients::Work;
use crate::status::Status;
use crate::verb::{Applied, Verb};

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
