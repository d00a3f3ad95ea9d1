//! What the tasks report to the runner.
//!
//! The channel is unbounded, but stays short: the runner limits the tasks, a task sends two or
//! three completions, and a task that waits for the store sends one every few seconds.

use relay_message::{DestinationKey, Message, QueueId};
use tokio::sync::{mpsc, oneshot};

use crate::action::Action;
use crate::destination::Feedback;
use crate::recipients::Work;

/// What a task has finished, or cannot finish yet.
#[derive(Debug)]
pub(crate) enum Completion {
    /// An attempt has ended: its slot is free.
    Finished(DestinationKey, Feedback),
    /// A job is no longer out. This work is left of it.
    Settled(DestinationKey, Work, Store),
    /// The store fails to record the results of this message, for this reason. It is tried again.
    Stuck(QueueId, String),
    /// The records of an operator's verb have been read or changed.
    ActionReady(ReadyAction),
    /// A report has entered the queue.
    Entered(Box<Message>),
    /// The task that reports failures has ended.
    Reported(QueueId, Reported),
}

/// The result of a task that reports failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    /// A report has entered the queue.
    Told,
    /// The failures are recorded without a report.
    Untold,
    /// There was nothing to report, or the claim was lost.
    Nothing,
}

/// The result of an order to return one message to its sender.
#[derive(Debug)]
pub(crate) enum Return {
    /// The return is recorded, as durably as the message was accepted.
    Done(Reported),
    /// The return cannot be recorded, for this reason. It is tried again.
    Stuck(QueueId, String),
}

/// A change of messages that the store has looked up or changed already.
#[derive(Debug)]
pub(crate) struct ReadyAction {
    pub(crate) action: Action,
    /// The work on the messages that exist.
    pub(crate) all_work: Vec<Work>,
    /// Receives the number of messages changed.
    pub(crate) changed: oneshot::Sender<Changed>,
    /// Receives the result for each message that is returned to its sender.
    pub(crate) returns: mpsc::UnboundedSender<Return>,
}

/// What a verb has changed in the schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Messages that were changed.
    pub(crate) at_once: u64,
    /// Messages that are returned when their attempts have ended.
    pub(crate) pending: u64,
}

/// The state of the store after a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    Works,
    /// For this reason.
    Fails(String),
    /// It was not used, or the task panicked.
    Unknown,
}

/// The last completion of a task. It is sent when this is dropped, so also if the task panics.
#[derive(Debug)]
pub(crate) struct NotifyOnDrop {
    to: mpsc::UnboundedSender<Completion>,
    completion: Option<Completion>,
}

impl NotifyOnDrop {
    /// `completion` is what is sent if the task panics.
    pub(crate) fn new(to: &mpsc::UnboundedSender<Completion>, completion: Completion) -> Self {
        Self {
            to: to.clone(),
            completion: Some(completion),
        }
    }

    /// Sends this one instead.
    pub(crate) fn notify(mut self, completion: Completion) {
        self.completion = Some(completion);
    }
}

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        if let Some(completion) = self.completion.take() {
            // The runner outlives its tasks, except at the very end, when nothing needs it.
            let _ = self.to.send(completion);
        }
    }
}
