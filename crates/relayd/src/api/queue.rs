//! What is in the queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use relay_control::{
    Attempt, Detail, Entry, Origin, Recipient, RecipientDetail, State as Standing,
};
use relay_queue::{Message, QueueId, QueueStore, RecipientState, StoreError};
use relay_send::{Deliver, DestinationKey};
use relay_smtp::{Outcome, Verdict};

use super::{problem, seconds, stopping, store_problem};
use crate::shared::Shared;

/// Records that are read from the store at once for a list.
const PAGE: usize = 500;

/// Streams the list page by page, so that a million messages neither fill memory nor hold anything
/// up: a page is read when the client has taken the one before.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let Some(sending) = Sending::of(&shared).await else {
        return stopping();
    };
    let (mut pieces, body) = Channel::<Bytes, StoreError>::new(1);
    tokio::spawn(async move {
        if let Err(reason) = send_list(&shared, &sending, &mut pieces).await {
            // An answer that breaks off tells the client that it is not whole.
            pieces.abort(reason);
        }
    });
    ([(CONTENT_TYPE, "application/json")], Body::new(body)).into_response()
}

/// An array with an entry on each line.
async fn send_list(
    shared: &Shared,
    sending: &Sending,
    pieces: &mut Sender<Bytes, StoreError>,
) -> Result<(), StoreError> {
    let mut after = None;
    let mut piece = b"[".to_vec();
    loop {
        let page = shared.store.scan(after, PAGE).await?;
        for message in &page {
            piece.extend_from_slice(if after.is_none() { b"\n" } else { b",\n" });
            after = Some(message.id);
            let entry = entry(shared, sending, message);
            serde_json::to_writer(&mut piece, &entry)
                .expect("an entry has no key but strings, and memory takes it");
        }
        let is_last = page.len() < PAGE;
        if is_last {
            piece.extend_from_slice(b"\n]\n");
        }
        let sent = pieces.send_data(std::mem::take(&mut piece).into()).await;
        // A client that has gone away needs no more.
        if is_last || sent.is_err() {
            return Ok(());
        }
    }
}

pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let unknown = || {
        problem(
            StatusCode::NOT_FOUND,
            format!("no message {id:?} in the queue"),
        )
    };
    let Ok(queue_id) = id.parse::<QueueId>() else {
        return unknown();
    };
    let Some(sending) = Sending::of(&shared).await else {
        return stopping();
    };
    match shared.store.get(queue_id).await {
        Ok(Some(message)) => Json(detail(&shared, &sending, &message)).into_response(),
        Ok(None) => unknown(),
        Err(reason) => store_problem(&reason),
    }
}

/// What the sender knows beyond the records.
struct Sending {
    /// Where each message under way is being delivered.
    running: HashMap<QueueId, Vec<DestinationKey>>,
    /// Destinations that are left alone, and until when.
    probes: HashMap<DestinationKey, SystemTime>,
}

impl Sending {
    async fn of(shared: &Shared) -> Option<Self> {
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
}

fn entry(shared: &Shared, sending: &Sending, message: &Message) -> Entry {
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

fn detail(shared: &Shared, sending: &Sending, message: &Message) -> Detail {
    let row = |row: &relay_queue::Recipient| {
        let (recipient, destination) = recipient(shared, sending, message, row);
        RecipientDetail {
            recipient,
            destination: destination.0.to_string(),
            last: row.last().map(|(at, outcome)| attempt(*at, outcome)),
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
    let is_running = sending.is_running(message.id, &destination);
    let probe = sending.probes.get(&destination).copied();
    let (state, next) = match row.state {
        RecipientState::Done => (Standing::Done, None),
        RecipientState::Failed { .. } => (Standing::Failed, None),
        _ if is_running => (Standing::InFlight, None),
        RecipientState::Queued if row.attempts == 0 => (Standing::Queued, probe),
        RecipientState::Queued => (Standing::Deferred, probe),
        // The later of its own time and its destination's.
        RecipientState::Deferred { next_attempt } => {
            (Standing::Deferred, probe.max(Some(next_attempt)))
        }
    };
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
        reply: outcome.reply.as_ref().map(ToString::to_string),
        detail: Some(outcome.detail.clone()).filter(|detail| !detail.is_empty()),
    }
}
