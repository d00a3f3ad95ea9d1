//! Operations that the committer executes, and their answers.

use bytes::Bytes;
use relay_message::{Audit, Claim, HoldResult, Message, QueueId, RecipientChange, StoreError};
use tokio::sync::oneshot;

use crate::spool::Prepared;

/// The channel that returns the result to the caller.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// The result of an attempt.
#[derive(Debug)]
pub(crate) struct Settle {
    pub(crate) claim: Claim,
    pub(crate) changes: Vec<RecipientChange>,
    pub(crate) told_of_delay: Vec<usize>,
    /// Messages that enter in the same round.
    pub(crate) bounces: Vec<(Message, Prepared)>,
}

/// A change to be made durable, or another request to the committer.
#[derive(Debug)]
pub(crate) enum Operation {
    /// A message enters.
    Commit(Box<Message>, Prepared, Answer<Message>),
    /// An attempt has ended; it may have made bounces.
    Settle(Settle, Answer<Option<Message>>),
    /// A message is damaged, for the given reason, and moves to `corrupt/`.
    Quarantine(QueueId, String, Answer<()>),
    /// The operator holds or releases a message.
    Hold(QueueId, bool, Answer<Option<HoldResult>>),
    /// The operator deletes a message.
    Delete(QueueId, Answer<Option<Message>>),
    /// The relay keeps a value under this number.
    Note(u64, Bytes, Answer<()>),
    /// The books are compared with the queue.
    Audit(Answer<Audit>),
    /// The store closes. No operation follows.
    Close(Answer<()>),
}

impl Operation {
    /// Returns whether a client or the operator waits for the answer.
    pub(crate) fn is_urgent(&self) -> bool {
        match self {
            Self::Settle(..) | Self::Quarantine(..) => false,
            Self::Commit(..)
            | Self::Hold(..)
            | Self::Delete(..)
            | Self::Note(..)
            | Self::Audit(_)
            | Self::Close(_) => true,
        }
    }

    /// Returns about how many octets it adds to the journal.
    pub(crate) fn octets(&self) -> usize {
        match self {
            Self::Commit(_, prepared, _) => prepared.content.len(),
            Self::Settle(settle, _) => {
                let bounces = settle.bounces.iter();
                bounces.map(|(_, prepared)| prepared.content.len()).sum()
            }
            Self::Note(_, value, _) => value.len(),
            _ => 0,
        }
    }

    /// Answers with an error. The operation was not started and does not reach the disk.
    pub(crate) fn refuse(self, reason: &str) {
        match self {
            Operation::Commit(_, _, answer) => refuse(answer, reason),
            Operation::Quarantine(_, _, answer)
            | Operation::Note(_, _, answer)
            | Operation::Close(answer) => refuse(answer, reason),
            Operation::Hold(_, _, answer) => refuse(answer, reason),
            Operation::Settle(_, answer) | Operation::Delete(_, answer) => refuse(answer, reason),
            Operation::Audit(answer) => refuse(answer, reason),
        }
    }
}

/// Answers that the operation was not executed, with the reason.
pub(crate) fn refuse<T>(answer: Answer<T>, reason: &str) {
    let _ = answer.send(Err(StoreError::Closed {
        reason: reason.to_owned(),
    }));
}
