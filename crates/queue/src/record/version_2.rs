//! The second layout. It adds the DSN options and the last attempts on each recipient.

use std::time::SystemTime;

use relay_message::{HISTORY, Message, QueueId, QueuedRecipient, Recipient};
use relay_smtp::dsn::{DsnRequest, Notify, Orcpt};
use relay_smtp::outcome::TlsParameters;
use relay_smtp::{ForwardPath, Outcome, ReversePath};
use serde::{Deserialize, Serialize};

use super::version_1::{StoredOrigin, StoredState};
use super::{Layout, Record, micros, time};

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    arrived: u64,
    origin: StoredOrigin,
    sender: ReversePath,
    dsn: DsnRequest,
    recipients: Vec<StoredRecipient>,
    eight_bit: bool,
    utf8: bool,
    hold: StoredHold,
    layout: Layout,
}

/// The first two were a boolean once and have the same octets.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum StoredHold {
    Never,
    Held,
    Released,
}

#[derive(Serialize, Deserialize)]
struct StoredRecipient {
    address: ForwardPath,
    notify: Notify,
    orcpt: Option<Orcpt>,
    state: StoredState,
    attempts: u32,
    delay_told: bool,
    history: Vec<StoredAttempt>,
}

#[derive(Serialize, Deserialize)]
struct StoredAttempt {
    at: u64,
    outcome: Outcome,
    /// The TLS parameters of the connection, which the serialised outcome leaves out.
    tls: Option<TlsParameters>,
}

impl From<&Record> for Stored {
    fn from(record: &Record) -> Self {
        let message = &record.message;
        let recipients = message.recipients.iter();
        Self {
            arrived: micros(message.arrived),
            origin: message.origin.into(),
            sender: message.sender.clone(),
            dsn: message.dsn.clone(),
            recipients: recipients.map(StoredRecipient::from).collect(),
            eight_bit: message.eight_bit,
            utf8: message.utf8,
            hold: match (message.held, message.released) {
                (true, _) => StoredHold::Held,
                (false, true) => StoredHold::Released,
                (false, false) => StoredHold::Never,
            },
            layout: record.layout,
        }
    }
}

impl From<&QueuedRecipient> for StoredRecipient {
    fn from(recipient: &QueuedRecipient) -> Self {
        let history = recipient.history.iter();
        Self {
            address: recipient.to.path.clone(),
            notify: recipient.to.notify,
            orcpt: recipient.to.orcpt.clone(),
            state: (&recipient.state).into(),
            attempts: recipient.attempts,
            delay_told: recipient.delay_told,
            history: history.map(StoredAttempt::from).collect(),
        }
    }
}

impl From<&(SystemTime, Outcome)> for StoredAttempt {
    fn from((at, outcome): &(SystemTime, Outcome)) -> Self {
        Self {
            at: micros(*at),
            outcome: outcome.clone(),
            tls: outcome.peer.as_ref().and_then(|peer| peer.tls.clone()),
        }
    }
}

impl Stored {
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
            held: self.hold == StoredHold::Held,
            released: self.hold == StoredHold::Released,
            dsn: self.dsn,
        };
        let layout = self.layout;
        Record { message, layout }
    }
}

impl From<StoredRecipient> for QueuedRecipient {
    fn from(stored: StoredRecipient) -> Self {
        let excess = stored.history.len().saturating_sub(HISTORY);
        let history = stored.history.into_iter().skip(excess);
        Self {
            to: Recipient {
                path: stored.address,
                notify: stored.notify,
                orcpt: stored.orcpt,
            },
            state: stored.state.into(),
            attempts: stored.attempts,
            delay_told: stored.delay_told,
            history: history.map(StoredAttempt::load).collect(),
        }
    }
}

impl StoredAttempt {
    fn load(self) -> (SystemTime, Outcome) {
        let mut outcome = self.outcome;
        if let Some(peer) = &mut outcome.peer {
            peer.tls = self.tls;
        }
        (time(self.at), outcome)
    }
}
