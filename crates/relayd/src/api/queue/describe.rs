//! Messages as the control API describes them.

use std::collections::HashMap;
use std::time::SystemTime;

use relay_control::{
    Attempt, Detail, Entry, Origin, Recipient, RecipientDetail, State as Standing,
};
use relay_queue::{Message, QueueId, RecipientState};
use relay_send::{Deliver, DestinationKey};
use relay_smtp::{Outcome, Verdict};

use crate::api::seconds;
use crate::shared::Shared;

/// What the sender knows beyond the records.
pub(super) struct Sending {
    /// Where each message under way is being delivered.
    running: HashMap<QueueId, Vec<DestinationKey>>,
    /// Destinations that are left alone, and until when.
    probes: HashMap<DestinationKey, SystemTime>,
}

impl Sending {
    pub(super) async fn of(shared: &Shared) -> Option<Self> {
        let status = shared.sender.status().await?;
        let mut running: HashMap<_, Vec<_>> = HashMap::new();
        for (id, key) in status.deliveries {
            running.entry(id).or_default().push(key);
        }
        let troubled = status
            .destinations
            .into_iter()
            .filter(|d| d.trouble.is_some());
        let probes = troubled.filter_map(|d| Some((d.name, d.next_attempt?)));
        Some(Self {
            running,
            probes: probes.collect(),
        })
    }

    fn is_running(&self, id: QueueId, destination: &DestinationKey) -> bool {
        let keys = self.running.get(&id);
        keys.is_some_and(|keys| keys.contains(destination))
    }

    /// Where a recipient stands, and when it is tried again.
    fn standing(
        &self,
        id: QueueId,
        row: &relay_queue::Recipient,
        destination: &DestinationKey,
    ) -> (Standing, Option<SystemTime>) {
        let probe = self.probes.get(destination).copied();
        match row.state {
            RecipientState::Done => (Standing::Done, None),
            RecipientState::Failed { .. } => (Standing::Failed, None),
            _ if self.is_running(id, destination) => (Standing::InFlight, None),
            RecipientState::Queued if row.attempts == 0 => (Standing::Queued, probe),
            RecipientState::Queued => (Standing::Deferred, probe),
            // The later of its own time and its destination's.
            RecipientState::Deferred { next_attempt } => {
                (Standing::Deferred, probe.max(Some(next_attempt)))
            }
        }
    }
}

pub(super) fn entry(shared: &Shared, sending: &Sending, message: &Message) -> Entry {
    let rows = message.recipients.iter();
    Entry {
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
    let row = |row: &relay_queue::Recipient| {
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
            relay_queue::Origin::Client => Origin::Client,
            relay_queue::Origin::Bounce => Origin::Bounce,
            relay_queue::Origin::DoubleBounce => Origin::DoubleBounce,
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
    row: &relay_queue::Recipient,
) -> (Recipient, DestinationKey) {
    let destination = shared.deliver.destination(&message.sender, &row.address);
    let (state, next) = sending.standing(message.id, row, &destination);
    let last = row.last().map(|(_, outcome)| outcome);
    let peer = last.and_then(|outcome| outcome.peer.as_ref());
    let recipient = Recipient {
        address: row.address.as_str().to_owned(),
        state,
        attempts: row.attempts,
        next_attempt: next.map(seconds),
        last_reply: last.map(words),
        host: peer.map(|peer| peer.host.clone()),
    };
    (recipient, destination)
}

/// Where one recipient stands.
pub(super) fn standing(
    shared: &Shared,
    sending: &Sending,
    message: &Message,
    row: &relay_queue::Recipient,
) -> Standing {
    let destination = shared.deliver.destination(&message.sender, &row.address);
    sending.standing(message.id, row, &destination).0
}

/// The remote's reply, or our own words if there was none.
fn words(outcome: &Outcome) -> String {
    match &outcome.reply {
        Some(reply) => reply.to_string(),
        None => outcome.detail.clone(),
    }
}

fn attempt(at: SystemTime, outcome: &Outcome) -> Attempt {
    let peer = outcome.peer.as_ref();
    let verdict = match outcome.verdict {
        Verdict::Delivered => "delivered",
        Verdict::Deferred => "deferred",
        Verdict::Failed => "failed",
    };
    Attempt {
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
