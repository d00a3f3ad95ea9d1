//! What the committer is asked to do, and how the answer finds its way back.

use relay_message::{Audit, Claim, HoldResult, Message, QueueId, RecipientChange, StoreError};
use tokio::sync::oneshot;

use crate::spool::Prepared;

/// How an operation's caller learns what became of it.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What an attempt wants recorded.
#[derive(Debug)]
pub(crate) struct Settle {
    pub(crate) claim: Claim,
    pub(crate) changes: Vec<RecipientChange>,
    pub(crate) told_of_delay: Vec<usize>,
    /// What enters in the same batch.
    pub(crate) bounces: Vec<(Message, Prepared)>,
}

/// Something to be made durable.
#[derive(Debug)]
pub(crate) enum Operation {
    /// A message enters.
    Commit(Box<Message>, Prepared, Answer<Message>),
    /// An attempt has ended, and perhaps made a bounce.
    Settle(Settle, Answer<Option<Message>>),
    /// A message does not fit what was written, for the reason given: it leaves for `corrupt/`.
    SetAside(QueueId, String, Answer<()>),
    /// The operator holds a message back, or gives it free.
    Hold(QueueId, bool, Answer<Option<HoldResult>>),
    /// The operator does away with a message.
    Delete(QueueId, Answer<Option<Message>>),
    /// The books are compared with the records.
    Audit(Answer<Audit>),
    /// No more operations.
    Close(Answer<()>),
}

impl Operation {
    /// Whether somebody outside waits for it: a client for its `250`, or the operator.
    pub(crate) fn is_urgent(&self) -> bool {
        match self {
            Self::Settle(..) | Self::SetAside(..) => false,
            Self::Commit(..)
            | Self::Hold(..)
            | Self::Delete(..)
            | Self::Audit(_)
            | Self::Close(_) => true,
        }
    }

    /// It was not begun: nothing of it is or will be on the disk.
    pub(crate) fn refuse(self, reason: &str) {
        match self {
            Operation::Commit(_, _, answer) => refuse(answer, reason),
            Operation::SetAside(_, _, answer) | Operation::Close(answer) => refuse(answer, reason),
            Operation::Hold(_, _, answer) => refuse(answer, reason),
            Operation::Settle(_, answer) | Operation::Delete(_, answer) => refuse(answer, reason),
            Operation::Audit(answer) => refuse(answer, reason),
        }
    }
}

/// Nothing of it was done, for this reason.
pub(crate) fn refuse<T>(answer: Answer<T>, reason: &str) {
    let _ = answer.send(Err(StoreError::Closed {
        reason: reason.to_owned(),
    }));
}
