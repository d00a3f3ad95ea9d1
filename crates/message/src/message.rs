//! The record of a queued message.

use std::time::SystemTime;

use relay_smtp::dsn::DsnRequest;
use relay_smtp::{Outcome, Recipient, ReversePath};

use crate::envelope::{Envelope, Origin};
use crate::id::QueueId;

/// Attempts on one recipient that are kept, the last ones.
pub const HISTORY: usize = 5;

/// Where one recipient stands. Times of attempts are the scheduler's to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRecipient {
    /// The address, with the DSN options that the client gave for it.
    pub to: Recipient,
    /// Where it stands.
    pub state: RecipientState,
    /// Attempts made so far.
    pub attempts: u32,
    /// Whether the sender has been told that this recipient's copy is delayed.
    pub delay_told: bool,
    /// When the last attempts ended, and how; at most [`HISTORY`], the newest last.
    pub history: Vec<(SystemTime, Outcome)>,
}

impl QueuedRecipient {
    /// A recipient that nothing has been done for yet.
    pub fn new(to: Recipient) -> Self {
        Self {
            to,
            state: RecipientState::Queued,
            attempts: 0,
            delay_told: false,
            history: Vec::new(),
        }
    }

    /// When the last attempt ended, and how.
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
    reason = "two are the client's words, two the operator's; none is a state of a machine"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub recipients: Vec<QueuedRecipient>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
    /// Octets of head and body together.
    pub size: u64,
    /// Set aside by the operator: not to be tried until released.
    pub held: bool,
    /// Given free again by the operator, who is not to be asked twice: see
    /// [`crate::QueueStore::set_held`].
    pub released: bool,
    /// `RET` and `ENVID` (RFC 3461): what the sender asked for the message as a whole.
    pub dsn: DsnRequest,
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

    /// Recipients that something is left to do for.
    pub fn outstanding(&self) -> u64 {
        let unsettled = |recipient: &&QueuedRecipient| !recipient.state.is_settled();
        self.recipients.iter().filter(unsettled).count() as u64
    }

    /// Records what an attempt changed. What is settled stays as it is, and an index beyond the
    /// recipients changes nothing.
    pub fn apply(&mut self, changes: Vec<RecipientChange>) {
        for change in changes {
            let recipient = self.recipients.get_mut(change.index);
            if let Some(recipient) = recipient.filter(|r| !r.state.is_settled()) {
                recipient.apply(change);
            }
        }
    }

    /// Records that the sender has been told of the delay of these recipients.
    pub fn told_of_delay(&mut self, indexes: &[usize]) {
        for &index in indexes {
            if let Some(recipient) = self.recipients.get_mut(index) {
                recipient.delay_told = true;
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
