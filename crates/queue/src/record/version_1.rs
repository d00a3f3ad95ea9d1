//! The first layout. It is read, never written.

use relay_smtp::dsn::{DsnRequest, Notify};
use relay_smtp::{ForwardPath, Outcome, ReversePath};
use serde::{Deserialize, Serialize};

use super::{Layout, Record, micros, time};
use crate::id::QueueId;
use crate::message::{Message, Origin, Recipient, RecipientState};

#[derive(Deserialize)]
pub(super) struct Stored {
    arrived: u64,
    origin: Origin,
    sender: ReversePath,
    recipients: Vec<StoredRecipient>,
    eight_bit: bool,
    utf8: bool,
    held: bool,
    layout: Layout,
}

#[derive(Deserialize)]
struct StoredRecipient {
    address: ForwardPath,
    state: StoredState,
    attempts: u32,
    last: Option<(u64, Outcome)>,
}

/// The same in all versions so far.
#[derive(Serialize, Deserialize)]
pub(super) enum StoredState {
    Queued,
    Deferred(u64),
    Done,
    Failed { reported: bool },
}

impl Stored {
    /// Its sender could not ask for reports yet, and of the attempts the last one was kept.
    pub(super) fn load(self, id: QueueId) -> Record {
        let message = Message {
            id,
            arrived: time(self.arrived),
            origin: self.origin,
            sender: self.sender,
            recipients: self.recipients.into_iter().map(Recipient::from).collect(),
            eight_bit: self.eight_bit,
            utf8: self.utf8,
            size: self.layout.size(),
            held: self.held,
            released: false,
            dsn: DsnRequest::default(),
        };
        let layout = self.layout;
        Record { message, layout }
    }
}

impl From<StoredRecipient> for Recipient {
    fn from(stored: StoredRecipient) -> Self {
        let last = stored.last.map(|(at, outcome)| (time(at), outcome));
        Recipient {
            address: stored.address,
            notify: Notify::default(),
            orcpt: None,
            state: stored.state.into(),
            attempts: stored.attempts,
            delay_told: false,
            history: last.into_iter().collect(),
        }
    }
}

impl From<StoredState> for RecipientState {
    fn from(stored: StoredState) -> Self {
        match stored {
            StoredState::Queued => Self::Queued,
            StoredState::Deferred(at) => Self::Deferred {
                next_attempt: time(at),
            },
            StoredState::Done => Self::Done,
            StoredState::Failed { reported } => Self::Failed { reported },
        }
    }
}

impl From<&RecipientState> for StoredState {
    fn from(state: &RecipientState) -> Self {
        match *state {
            RecipientState::Queued => Self::Queued,
            RecipientState::Deferred { next_attempt } => Self::Deferred(micros(next_attempt)),
            RecipientState::Done => Self::Done,
            RecipientState::Failed { reported } => Self::Failed { reported },
        }
    }
}
