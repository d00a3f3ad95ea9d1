//! The handle of the running task.
//!
//! The channel of commands is unbounded. It stays short: the runner never waits for I/O and reads
//! commands on every turn, and each accepted message costs a sync of the disk.

use std::sync::Arc;
use std::time::Duration;

use relay_control::{Verb, VerbResult};
use relay_message::{Deliver, DestinationKey, Message, QueueId};
use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::hold_rules::{HoldRule, HoldRules};
use crate::recipients::Work;
use crate::status::Status;

/// A request to the running task.
pub(crate) enum RunnerCommand {
    Accepted(Work),
    /// Hold a message that has just come in.
    Hold(QueueId),
    Reconfigure(Box<Config>),
    Apply(Verb, Vec<QueueId>, oneshot::Sender<VerbResult>),
    Suspend(DestinationKey, oneshot::Sender<bool>),
    Resume(DestinationKey, oneshot::Sender<bool>),
    Status(oneshot::Sender<Status>),
    Shutdown(Duration, oneshot::Sender<()>),
}

/// The handle of a running sender.
#[derive(Debug)]
pub struct Handle<D> {
    commands: mpsc::UnboundedSender<RunnerCommand>,
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
        commands: mpsc::UnboundedSender<RunnerCommand>,
        deliver: Arc<D>,
        holds: HoldRules,
    ) -> Self {
        Self {
            commands,
            deliver,
            holds,
        }
    }

    /// Schedules a message that has been committed to the queue, or holds it if a rule matches.
    pub fn accepted(&self, message: &Message) {
        if self.holds.hold(message) {
            self.send(RunnerCommand::Hold(message.id));
            return;
        }
        self.send(RunnerCommand::Accepted(Work::of(message, &*self.deliver)));
    }

    /// Applies a new configuration, and perhaps new routes. All waiting jobs are scheduled again.
    pub fn reconfigure(&self, config: Config) {
        self.send(RunnerCommand::Reconfigure(Box::new(config)));
    }

    /// Applies a verb of the operator to these messages, which may be gone. [`VerbResult`] says
    /// what each number counts; `matched`, `held` and `unknown` stay empty here. Changes are durable, except
    /// those in `pending`.
    /// After a little more than a hundred problems it stops, and the other messages are unchanged.
    ///
    /// - `Retry` tries the messages now, whether or not they are due or their destination is in
    ///   back-off. It skips messages that are held, are being tried, or wait for a suspended
    ///   destination.
    /// - `Hold` keeps the messages from being tried until they are released. Attempts under way
    ///   continue and are recorded.
    /// - `Release` ends a hold. The messages are tried now.
    /// - `Delete` deletes the messages without a report. Attempts under way may still deliver them.
    /// - `Bounce` gives the messages up when the attempts under way have ended, and reports to their
    ///   senders. The limit on reports does not apply.
    ///
    /// Returns `None` when the sender is shutting down. Then most or all messages are unchanged.
    pub async fn apply(&self, verb: Verb, ids: Vec<QueueId>) -> Option<VerbResult> {
        let (answer, answered) = oneshot::channel();
        self.send(RunnerCommand::Apply(verb, ids, answer));
        answered.await.ok()
    }

    /// Replaces the rules by which incoming mail is held.
    pub fn hold_incoming(&self, rules: Vec<HoldRule>) {
        self.holds.replace(rules);
    }

    /// Suspends a destination: no attempt begins until it is resumed. Returns whether that is new.
    pub async fn suspend(&self, destination: DestinationKey) -> bool {
        let (answer, answered) = oneshot::channel();
        self.send(RunnerCommand::Suspend(destination, answer));
        answered.await.unwrap_or_default()
    }

    /// Resumes a destination. Returns whether it was suspended.
    pub async fn resume(&self, destination: DestinationKey) -> bool {
        let (answer, answered) = oneshot::channel();
        self.send(RunnerCommand::Resume(destination, answer));
        answered.await.unwrap_or_default()
    }

    /// Returns the state of the queue, or `None` when the sender has been shut down.
    pub async fn status(&self) -> Option<Status> {
        let (answer, answered) = oneshot::channel();
        self.send(RunnerCommand::Status(answer));
        answered.await.ok()
    }

    /// Starts no more attempts, waits at most `bound` for those under way, and ends. Attempts that
    /// have not ended by then are aborted, and made again after the next start.
    pub async fn shutdown(&self, bound: Duration) {
        let (answer, answered) = oneshot::channel();
        self.send(RunnerCommand::Shutdown(bound, answer));
        let _ = answered.await;
    }

    /// After the shutdown nothing receives commands. The store has every message.
    fn send(&self, command: RunnerCommand) {
        let _ = self.commands.send(command);
    }
}
