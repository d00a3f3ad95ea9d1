//! What the tasks tell the runner.
//!
//! The channel has no bound of its own and needs none: the runner bounds the tasks, a task has two
//! or three things to tell, and one that waits for the store tells so every few seconds.

use relay_queue::QueueId;
use tokio::sync::{mpsc, oneshot};

use crate::deliver::DestinationKey;
use crate::destination::Feedback;
use crate::handle::Verb;
use crate::recipients::Todo;

#[derive(Debug)]
pub(crate) enum News {
    /// An attempt has ended: its slot is free.
    Finished(DestinationKey, Feedback),
    /// A job is no longer out, and this is left of it.
    Settled(DestinationKey, Todo, Store),
    /// The store does not take what has to be recorded of this message, for this reason; it is asked
    /// again.
    Stuck(QueueId, String),
    /// The records that a verb of the operator is about have been read.
    Steered(Steering),
    /// A report has entered the queue.
    Entered(Todo),
    /// What failed has been reported, or nobody needed it.
    Reported(QueueId),
}

/// A verb of the operator on its way back from the store.
#[derive(Debug)]
pub(crate) struct Steering {
    pub(crate) verb: Verb,
    /// What the messages that exist need.
    pub(crate) todos: Vec<Todo>,
    /// To be told for how many of them it changed something.
    pub(crate) changed: oneshot::Sender<usize>,
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

/// The last word of a piece of work: told when this is dropped, so even if the work panics.
#[derive(Debug)]
pub(crate) struct LastWord {
    to: mpsc::UnboundedSender<News>,
    word: Option<News>,
}

impl LastWord {
    /// `word` is what a panic would mean.
    pub(crate) fn new(to: &mpsc::UnboundedSender<News>, word: News) -> Self {
        Self {
            to: to.clone(),
            word: Some(word),
        }
    }

    /// Tells this instead.
    pub(crate) fn tell(mut self, word: News) {
        self.word = Some(word);
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if let Some(word) = self.word.take() {
            // The runner outlives its tasks, except at the very end, when nobody needs the news.
            let _ = self.to.send(word);
        }
    }
}
