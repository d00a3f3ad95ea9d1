//! Converts messages to the form of the control API.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use relay_control::{
    DeliveryState, Detail, Origin, PastAttempt, QueueEntry, Recipient, RecipientDetail, WaitsFor,
};
use relay_message::{Deliver, DestinationKey, Message, QueueId, RecipientState};
use relay_smtp::{Outcome, Verdict};

use crate::api::error::ApiError;
use crate::api::seconds;
use crate::clock;
use crate::shared::Shared;

/// What the sender knows in addition to the records.
pub(in crate::api) struct Sending {
    /// The destinations to which each message is being delivered.
    running: HashMap<QueueId, Vec<DestinationKey>>,
    /// The destinations that are in a pause after failures, and when the pause ends.
    probes: HashMap<DestinationKey, SystemTime>,
    /// The destinations that the operator has suspended.
    suspended: HashSet<DestinationKey>,
    now: SystemTime,
}

/// The state of a recipient, and what happens to it next.
#[derive(Debug, PartialEq, Eq)]
struct Outlook {
    state: DeliveryState,
    next: Option<SystemTime>,
    waits_for: Option<WaitsFor>,
}

/// Fails when the daemon is shutting down.
impl FromRequestParts<Arc<Shared>> for Sending {
    type Rejection = ApiError;

    async fn from_request_parts(_: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let status = shared.sender.status().await.ok_or(ApiError::Stopping)?;
        Ok(Self::of(status))
    }
}

impl Sending {
    fn of(status: relay_send::Status) -> Self {
        let mut running: HashMap<_, Vec<_>> = HashMap::new();
        for (id, key) in status.deliveries {
            running.entry(id).or_default().push(key);
        }
        let troubled = status
            .destinations
            .into_iter()
            .filter(|d| d.trouble.is_some());
        let probes = troubled.filter_map(|d| Some((d.name, d.next_attempt?)));
        Self {
            running,
            probes: probes.collect(),
            suspended: status.suspended.into_iter().collect(),
            now: clock::now(),
        }
    }

    fn is_running(&self, id: QueueId, destination: &DestinationKey) -> bool {
        let keys = self.running.get(&id);
        keys.is_some_and(|keys| keys.contains(destination))
    }

    fn outlook(
        &self,
        message: &Message,
        row: &relay_message::QueuedRecipient,
        destination: &DestinationKey,
    ) -> Outlook {
        let state = self.state(message.id, row, destination);
        let (next, waits_for) = match state {
            DeliveryState::Queued | DeliveryState::Deferred => self.wait(message, row, destination),
            DeliveryState::InFlight
            | DeliveryState::Done
            | DeliveryState::Failed
            | DeliveryState::Unknown => (None, None),
        };
        Outlook {
            state,
            next,
            waits_for,
        }
    }

    fn state(
        &self,
        id: QueueId,
        row: &relay_message::QueuedRecipient,
        destination: &DestinationKey,
    ) -> DeliveryState {
        match row.state {
            RecipientState::Done => DeliveryState::Done,
            RecipientState::Failed { .. } => DeliveryState::Failed,
            _ if self.is_running(id, destination) => DeliveryState::InFlight,
            RecipientState::Queued if row.attempts == 0 => DeliveryState::Queued,
            RecipientState::Queued | RecipientState::Deferred { .. } => DeliveryState::Deferred,
        }
    }

    /// Returns when a waiting recipient is tried again, and what it waits for until then. The time
    /// is `None` if it waits for the operator.
    fn wait(
        &self,
        message: &Message,
        row: &relay_message::QueuedRecipient,
        destination: &DestinationKey,
    ) -> (Option<SystemTime>, Option<WaitsFor>) {
        if message.held {
            return (None, Some(WaitsFor::Release));
        }
        if self.suspended.contains(destination) {
            return (None, Some(WaitsFor::Resume));
        }
        let probe = self.probes.get(destination).copied();
        let own = match row.state {
            RecipientState::Deferred { next_attempt } => Some(next_attempt),
            _ => None,
        };
        // The next attempt is at the later of two times: the recipient's and the destination's.
        let waits_for = if probe.is_some() && probe >= own {
            WaitsFor::Destination
        } else if own > Some(self.now) {
            WaitsFor::Time
        } else {
            WaitsFor::Slot
        };
        (probe.max(own), Some(waits_for))
    }
}

pub(super) fn entry(shared: &Shared, sending: &Sending, message: &Message) -> QueueEntry {
    let rows = message.recipients.iter();
    QueueEntry {
        id: message.id.to_string(),
        sender: message.sender.as_str().to_owned(),
        arrived: seconds(message.arrived),
        size: message.size,
        held: message.held,
        recipients: rows
            .map(|row| recipient(shared, sending, message, row).0)
            .collect(),
    }
}

pub(super) fn detail(shared: &Shared, sending: &Sending, message: &Message) -> Detail {
    let row = |row: &relay_message::QueuedRecipient| {
        let (recipient, destination) = recipient(shared, sending, message, row);
        let history = row.history.iter();
        RecipientDetail {
            recipient,
            destination: destination.0.to_string(),
            history: history.map(|(at, outcome)| attempt(*at, outcome)).collect(),
        }
    };
    Detail {
        id: message.id.to_string(),
        sender: message.sender.as_str().to_owned(),
        arrived: seconds(message.arrived),
        size: message.size,
        held: message.held,
        origin: match message.origin {
            relay_message::Origin::Client => Origin::Client,
            relay_message::Origin::Bounce => Origin::Bounce,
            relay_message::Origin::DoubleBounce => Origin::DoubleBounce,
        },
        eight_bit: message.eight_bit,
        utf8: message.utf8,
        recipients: message.recipients.iter().map(row).collect(),
    }
}

fn recipient(
    shared: &Shared,
    sending: &Sending,
    message: &Message,
    row: &relay_message::QueuedRecipient,
) -> (Recipient, DestinationKey) {
    let destination = shared.deliver.destination_of(message, row);
    let Outlook {
        state,
        next,
        waits_for,
    } = sending.outlook(message, row, &destination);
    let last = row.last().map(|(_, outcome)| outcome);
    let peer = last.and_then(|outcome| outcome.peer.as_ref());
    let recipient = Recipient {
        address: row.to.path.as_str().to_owned(),
        state,
        attempts: row.attempts,
        next_attempt: next.map(seconds),
        waits_for,
        last_reply: last.map(words),
        host: peer.map(|peer| peer.host.clone()),
    };
    (recipient, destination)
}

/// Returns the state of one recipient.
pub(super) fn state(
    shared: &Shared,
    sending: &Sending,
    message: &Message,
    row: &relay_message::QueuedRecipient,
) -> DeliveryState {
    let destination = shared.deliver.destination_of(message, row);
    sending.state(message.id, row, &destination)
}

/// Returns the remote server's reply, or our own description if there was no reply.
fn words(outcome: &Outcome) -> String {
    match &outcome.reply {
        Some(reply) => reply.to_string(),
        None => outcome.detail.clone(),
    }
}

fn attempt(at: SystemTime, outcome: &Outcome) -> PastAttempt {
    let peer = outcome.peer.as_ref();
    let verdict = match outcome.verdict {
        Verdict::Delivered => "delivered",
        Verdict::Deferred => "deferred",
        Verdict::Failed => "failed",
    };
    PastAttempt {
        at: seconds(at),
        verdict: verdict.to_owned(),
        status: outcome.status.to_string(),
        stage: outcome.stage.to_string(),
        host: peer.map(|peer| peer.host.clone()),
        address: peer.map(|peer| peer.address.to_string()),
        tls: peer.and_then(|peer| peer.tls.as_ref().map(ToString::to_string)),
        reply: outcome.reply.as_ref().map(ToString::to_string),
        detail: Some(outcome.detail.clone()).filter(|detail| !detail.is_empty()),
    }
}
