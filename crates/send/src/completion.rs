//! What the tasks report to the runner.
//!
//! The channel is unbounded, but stays short: the runner limits the tasks, a task sends two or
//! three completions, and a task that waits for the store sends one every few seconds.

use relay_message::{DestinationKey, Message, QueueId};
use tokio::sync::{mpsc, oneshot};

use crate::destination::Feedback;
use crate::recipients::Work;
use crate::verb::Verb;

/// What a task has finished, or cannot finish yet.
#[derive(Debug)]
pub(crate) enum Completion {
    /// An attempt has ended: its slot is free.
    Finished(DestinationKey, Feedback),
    /// A job is no longer out, and this is left of it.
    Settled(DestinationKey, Work, Store),
    /// The store does not take what has to be recorded of this message, for this reason; it is
    /// asked again.
    Stuck(QueueId, String),
    /// The records that a verb of the operator is about have been read.
    VerbReady(ReadyVerb),
    /// A report has entered the queue.
    Entered(Box<Message>),
    /// What failed needs no report any more.
    Reported(QueueId, Reported),
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    /// It has entered the queue.
    Told,
    /// What it would tell of is recorded, and nobody is told.
    Untold,
    /// There was nothing to tell: the message has left, or somebody else has it.
    Nothing,
}

/// What has become of the order to return one message to its sender.
#[derive(Debug)]
pub(crate) enum Return {
    /// It is returned, as durably as it had been accepted.
    Done(Reported),
    /// It cannot be recorded, for this reason; the store is asked again.
    Stuck(QueueId, String),
}

/// An operator's verb whose messages the store has looked up or changed.
#[derive(Debug)]
pub(crate) struct ReadyVerb {
    pub(crate) verb: Verb,
    /// What the messages that exist need.
    pub(crate) all_work: Vec<Work>,
    /// To be told for how many of them it changed something.
    pub(crate) changed: oneshot::Sender<Changed>,
    /// To be told of each message that is returned to its sender.
    pub(crate) returns: mpsc::UnboundedSender<Return>,
}

/// What a verb has changed in the schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Messages that it changed something for.
    pub(crate) at_once: usize,
    /// Messages that are to be returned when what is under way has ended.
    pub(crate) pending: usize,
}

/// How the store did in a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    Works,
    /// For this reason.
    Fails(String),
    /// It was not asked, or the work ended in a panic.
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
            // The runner outlives its tasks, except at the very end, when nobody needs it.
            let _ = self.to.send(completion);
        }
    }
}
