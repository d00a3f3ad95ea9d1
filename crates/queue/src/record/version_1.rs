//! The first layout. It is read but not written any more.

use relay_message::{Message, Origin, QueueId, QueuedRecipient, Recipient, RecipientState};
use relay_smtp::dsn::DsnRequest;
use relay_smtp::{ForwardPath, Outcome, ReversePath};
use serde::{Deserialize, Serialize};

use super::{Layout, Record, micros, time};

#[derive(Deserialize)]
pub(super) struct Stored {
    arrived: u64,
    origin: StoredOrigin,
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

/// This is the same in all versions so far.
#[derive(Serialize, Deserialize)]
pub(super) enum StoredOrigin {
    Client,
    Bounce,
    DoubleBounce,
}

/// This is the same in all versions so far.
#[derive(Serialize, Deserialize)]
pub(super) enum StoredState {
    Queued,
    Deferred(u64),
    Done,
    Failed { reported: bool },
}

impl Stored {
    /// This layout has no DSN options, and only the last attempt on each recipient.
    pub(super) fn load(self, id: QueueId) -> Record {
        let message = Message {
            id,
            arrived: time(self.arrived),
            origin: self.origin.into(),
            sender: self.sender,
            recipients: self
                .recipients
                .into_iter()
                .map(QueuedRecipient::from)
                .collect(),
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

impl From<StoredRecipient> for QueuedRecipient {
    fn from(stored: StoredRecipient) -> Self {
        let last = stored.last.map(|(at, outcome)| (time(at), outcome));
        Self {
            to: Recipient::from(stored.address),
            state: stored.state.into(),
            attempts: stored.attempts,
            delay_told: false,
            history: last.into_iter().collect(),
        }
    }
}

impl From<StoredOrigin> for Origin {
    fn from(stored: StoredOrigin) -> Self {
        match stored {
            StoredOrigin::Client => Self::Client,
            StoredOrigin::Bounce => Self::Bounce,
            StoredOrigin::DoubleBounce => Self::DoubleBounce,
        }
    }
}

impl From<Origin> for StoredOrigin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Client => Self::Client,
            Origin::Bounce => Self::Bounce,
            Origin::DoubleBounce => Self::DoubleBounce,
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
