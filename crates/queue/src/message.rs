//! What the queue keeps of a message.

use std::fs::File;
use std::time::SystemTime;

use bytes::Bytes;
use relay_smtp::{ForwardPath, Outcome, ReversePath};
use serde::{Deserialize, Serialize};

use crate::id::QueueId;

/// The envelope as the client gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// MAIL FROM.
    pub sender: ReversePath,
    /// RCPT TO, in order; a recipient's index in this list is its name in every other call.
    pub recipients: Vec<ForwardPath>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
}

/// Who made a message. A bounce that fails must be told from a client's own message with the null
/// sender: the first goes to the postmaster once, the second is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Taken in from a client.
    Client,
    /// Our report to a sender.
    Bounce,
    /// Our report to the postmaster that a bounce failed; it never makes another.
    DoubleBounce,
}

/// A message about to enter the queue without passing through a [`crate::Spool`]: a bounce.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its name, from [`crate::QueueStore::next_id`]: it stands in its own Received header.
    pub id: QueueId,
    /// Which kind of report it is.
    pub origin: Origin,
    /// Whom from, whom to.
    pub envelope: Envelope,
    /// When it entered.
    pub arrived: SystemTime,
    /// What we put before the body.
    pub head: Bytes,
    /// The rest.
    pub body: Bytes,
}

/// Where one recipient stands. Times of attempts are the scheduler's to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecipientState {
    /// No attempt has been made yet, or the last one did not count.
    Queued,
    /// To be tried again at `next_attempt`.
    Deferred {
        /// Not before this.
        next_attempt: SystemTime,
    },
    /// Delivered: nothing more to do.
    Done,
    /// Failed for good; `reported` once a bounce that tells of it has been committed, or none is due.
    Failed {
        /// Whether the sender has been told, or must not be.
        reported: bool,
    },
}

impl RecipientState {
    /// Whether nothing more is to be done for this recipient.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Done | Self::Failed { reported: true })
    }
}

/// One recipient of a queued message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// RCPT TO.
    pub address: ForwardPath,
    /// Where it stands.
    pub state: RecipientState,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the last attempt ended, and how.
    pub last: Option<(SystemTime, Outcome)>,
}

/// The record of a queued message: everything but its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its name.
    pub id: QueueId,
    /// When it was accepted.
    pub arrived: SystemTime,
    /// Who made it.
    pub origin: Origin,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// RCPT TO, with the state of each.
    pub recipients: Vec<Recipient>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
    /// Octets of head and body together.
    pub size: u64,
    /// Set aside by the operator: not to be tried until released.
    pub held: bool,
}

impl Message {
    /// A message that nothing has been done for yet.
    pub fn new(
        id: QueueId,
        arrived: SystemTime,
        origin: Origin,
        envelope: Envelope,
        size: u64,
    ) -> Self {
        let fresh = |address| Recipient {
            address,
            state: RecipientState::Queued,
            attempts: 0,
            last: None,
        };
        Self {
            id,
            arrived,
            origin,
            sender: envelope.sender,
            recipients: envelope.recipients.into_iter().map(fresh).collect(),
            eight_bit: envelope.eight_bit,
            utf8: envelope.utf8,
            size,
            held: false,
        }
    }

    /// Whether no attempt has been made for any recipient.
    pub fn is_fresh(&self) -> bool {
        self.recipients
            .iter()
            .all(|recipient| recipient.attempts == 0)
    }

    /// Whether nothing is left to do, so that the message leaves the queue.
    pub fn is_settled(&self) -> bool {
        self.recipients
            .iter()
            .all(|recipient| recipient.state.is_settled())
    }

    /// Records what an attempt changed. An index beyond the recipients changes nothing.
    pub fn apply(&mut self, changes: Vec<RecipientChange>) {
        for change in changes {
            let Some(recipient) = self.recipients.get_mut(change.index) else {
                continue;
            };
            recipient.state = change.state;
            if change.attempt.is_some() {
                recipient.attempts = recipient.attempts.saturating_add(1);
                recipient.last = change.attempt;
            }
        }
    }
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientChange {
    /// Its place in [`Message::recipients`].
    pub index: usize,
    /// Where it stands now.
    pub state: RecipientState,
    /// If an attempt was made: when it ended and how. It counts as one more attempt.
    pub attempt: Option<(SystemTime, Outcome)>,
}

/// The bytes of a message; on the wire head, then body. CRLF line ends, no dot-stuffing.
#[derive(Debug)]
pub struct Content {
    /// What we put before the body: trace header and the like.
    pub head: Bytes,
    /// The message as the client sent it.
    pub body: Body,
}

/// A body: small ones in memory, large ones a file.
#[derive(Debug)]
pub enum Body {
    /// The bytes themselves.
    Inline(Bytes),
    /// The first `length` octets of a file, opened for reading.
    File {
        /// The open file.
        file: File,
        /// Octets of the body; the file may hold more behind them.
        length: u64,
    },
}
