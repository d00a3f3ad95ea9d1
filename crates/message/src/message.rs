//! The record of a queued message.

use std::time::SystemTime;

use relay_smtp::dsn::DsnRequest;
use relay_smtp::{Outcome, Recipient, ReversePath};

use crate::envelope::{Envelope, Origin};
use crate::id::QueueId;

/// How many attempts are recorded for each recipient. Older ones are dropped.
pub const HISTORY: usize = 5;

/// The state of one recipient. The scheduler chooses the times of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientState {
    /// No attempt has been made yet, or the last one did not count.
    Queued,
    /// The recipient will be tried again at `next_attempt`.
    Deferred {
        /// The earliest time of the next attempt.
        next_attempt: SystemTime,
    },
    /// The message was delivered to this recipient.
    Done,
    /// The recipient failed permanently.
    Failed {
        /// Whether a report of the failure has been committed, or none is to be sent.
        reported: bool,
    },
}

impl RecipientState {
    /// Returns whether nothing remains to be done for this recipient.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Done | Self::Failed { reported: true })
    }
}

/// One recipient of a queued message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRecipient {
    /// The address, with the DSN options that the client gave for it.
    pub to: Recipient,
    /// The state of the recipient.
    pub state: RecipientState,
    /// How many attempts were made so far.
    pub attempts: u32,
    /// Whether the sender has been notified that delivery to this recipient is delayed.
    pub delay_told: bool,
    /// When the last attempts ended, and their outcomes: at most [`HISTORY`], the newest last.
    pub history: Vec<(SystemTime, Outcome)>,
}

impl QueuedRecipient {
    /// Creates a recipient for which nothing was done yet.
    pub fn new(to: Recipient) -> Self {
        Self {
            to,
            state: RecipientState::Queued,
            attempts: 0,
            delay_told: false,
            history: Vec::new(),
        }
    }

    /// Returns when the last attempt ended, and its outcome.
    pub fn last(&self) -> Option<&(SystemTime, Outcome)> {
        self.history.last()
    }

    fn apply(&mut self, change: RecipientChange) {
        self.state = change.state;
        if let Some(attempt) = change.attempt {
            self.attempts = self.attempts.saturating_add(1);
            self.history.push(attempt);
            let excess = self.history.len().saturating_sub(HISTORY);
            self.history.drain(..excess);
        }
    }
}

/// The record of a queued message: everything but its bytes.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the client sets two and the operator two; none is a state of a machine"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The id of the message.
    pub id: QueueId,
    /// When it was accepted.
    pub arrived: SystemTime,
    /// Who made the message.
    pub origin: Origin,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// The addresses in RCPT TO, with the state of each recipient.
    pub recipients: Vec<QueuedRecipient>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
    /// Octets of head and body together.
    pub size: u64,
    /// Whether the operator holds the message. It is not tried until it is released.
    pub held: bool,
    /// Whether the operator has released the message, so that no rule holds it again: see
    /// [`crate::QueueStore::set_held`].
    pub released: bool,
    /// `RET` and `ENVID` (RFC 3461), the sender's options for the message as a whole.
    pub dsn: DsnRequest,
}

impl Message {
    /// Creates a message for which nothing was done yet.
    pub fn new(
        id: QueueId,
        arrived: SystemTime,
        origin: Origin,
        envelope: Envelope,
        size: u64,
    ) -> Self {
        let recipients = envelope.recipients.into_iter();
        Self {
            id,
            arrived,
            origin,
            sender: envelope.sender,
            recipients: recipients.map(QueuedRecipient::new).collect(),
            eight_bit: envelope.eight_bit,
            utf8: envelope.utf8,
            size,
            held: false,
            released: false,
            dsn: envelope.dsn,
        }
    }

    /// Holds the message, or releases it if it is held. Returns whether that changed anything.
    pub fn set_held(&mut self, held: bool) -> bool {
        let changed = self.held != held;
        self.released = !held && (self.held || self.released);
        self.held = held;
        changed
    }

    /// Returns whether no attempt was made for any recipient.
    pub fn is_fresh(&self) -> bool {
        self.recipients
            .iter()
            .all(|recipient| recipient.attempts == 0)
    }

    /// Returns whether all recipients are settled, so that the message leaves the queue.
    pub fn is_settled(&self) -> bool {
        self.recipients
            .iter()
            .all(|recipient| recipient.state.is_settled())
    }

    /// Returns the number of recipients that are not settled.
    pub fn outstanding(&self) -> u64 {
        self.recipients
            .iter()
            .filter(|recipient| !recipient.state.is_settled())
            .count() as u64
    }

    /// Records the changes of an attempt. Settled recipients do not change, and an index that is
    /// too large is ignored.
    pub fn apply(&mut self, changes: Vec<RecipientChange>) {
        for change in changes {
            let recipient = self.recipients.get_mut(change.index);
            if let Some(recipient) = recipient.filter(|r| !r.state.is_settled()) {
                recipient.apply(change);
            }
        }
    }

    /// Records that the sender has been notified of the delay of these recipients.
    pub fn told_of_delay(&mut self, indexes: &[usize]) {
        for &index in indexes {
            if let Some(recipient) = self.recipients.get_mut(index) {
                recipient.delay_told = true;
            }
        }
    }
}

/// The result of an attempt for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientChange {
    /// The index of the recipient in [`Message::recipients`].
    pub index: usize,
    /// The new state.
    pub state: RecipientState,
    /// When the attempt ended, and its outcome. It counts as one more attempt. `None` if no attempt
    /// was made.
    pub attempt: Option<(SystemTime, Outcome)>,
}
