//! The handle of the running task.
//!
//! The channel of commands is unbounded. It stays short: the runner never waits for I/O and reads
//! commands on every turn, and each accepted message costs a sync of the disk.

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
    /// Hold a message that has just come in.
    Hold(QueueId),
    Reconfigure(Box<Config>),
    Apply(Verb, Vec<QueueId>, oneshot::Sender<Applied>),
    Suspend(DestinationKey, oneshot::Sender<bool>),
    Resume(DestinationKey, oneshot::Sender<bool>),
    Status(oneshot::Sender<Status>),
    Shutdown(Duration, oneshot::Sender<()>),
}

/// The handle of a running sender.
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

    /// Applies a new configuration, and perhaps new routes. All waiting jobs are scheduled again.
    pub fn reconfigure(&self, config: Config) {
        self.send(Command::Reconfigure(Box::new(config)));
    }

    /// Tries these messages now, whether or not they are due or their destination is in back-off.
    /// It skips messages that are held, are being tried, or wait for a suspended destination.
    ///
    /// This and the other verbs return `None` when the sender is shutting down. Then most or all of
    /// the messages are unchanged.
    pub async fn retry(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Retry, ids).await
    }

    /// Gives these messages up when the attempts under way have ended, and reports to their
    /// senders. The limit on reports does not apply.
    pub async fn bounce(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Bounce, ids).await
    }

    /// Holds these messages: they are not tried again until they are released. Attempts under way
    /// continue and are recorded.
    pub async fn hold(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Hold, ids).await
    }

    /// Releases messages that [`Self::hold`] held. They are tried now.
    pub async fn release(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Release, ids).await
    }

    /// Deletes these messages without a report. Attempts under way may still deliver them; they are
    /// not tried again.
    pub async fn delete(&self, ids: Vec<QueueId>) -> Option<Applied> {
        self.apply_verb(Verb::Delete, ids).await
    }

    /// Replaces the rules by which incoming mail is held.
    pub fn hold_incoming(&self, rules: Vec<HoldRule>) {
        self.holds.replace(rules);
    }

    /// Suspends a destination: no attempt begins until it is resumed. Returns whether that is new.
    pub async fn suspend(&self, destination: DestinationKey) -> bool {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Suspend(destination, answer));
        answered.await.unwrap_or_default()
    }

    /// Resumes a destination. Returns whether it was suspended.
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

    /// Returns the state of the queue, or `None` when the sender has been shut down.
    pub async fn status(&self) -> Option<Status> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Status(answer));
        answered.await.ok()
    }

    /// Starts no more attempts, waits at most `bound` for those under way, and ends. Attempts that
    /// have not ended by then are aborted, and made again after the next start.
    pub async fn shutdown(&self, bound: Duration) {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Shutdown(bound, answer));
        let _ = answered.await;
    }

    /// After the shutdown nothing receives commands. The store has every message.
    fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}
