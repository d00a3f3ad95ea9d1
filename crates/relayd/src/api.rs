//! The control API: HTTP and JSON over the Unix socket, for `relayctl`.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use relay_control::{
    Attempt, Destination, Detail, Entry, Listener, Origin, Problem, Recipient, RecipientDetail,
    Recipients, Reload, State as Standing, Status, path,
};
use relay_queue::{Message, QueueId, QueueStore, RecipientState, StoreError};
use relay_send::Deliver;
use relay_smtp::{Outcome, Verdict};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::daemon::{Shared, now, role_name};

/// Records that are read from the store at once for a list.
const PAGE: usize = 500;

/// The control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("control.socket {path}: {reason}")]
pub struct ControlError {
    path: PathBuf,
    reason: String,
}

/// Opens the socket, for its owner only. One that nobody answers on is left over from a crash and
/// is replaced.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, ControlError> {
    let error = |reason: String| ControlError {
        path: path.to_owned(),
        reason,
    };
    if UnixStream::connect(path).is_ok() {
        return Err(error(
            "in use by another relayd: stop that one, or name another socket".into(),
        ));
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(error(format!("cannot be replaced: {e}")));
        }
        _ => {}
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(parent);
        made.map_err(|e| error(format!("its directory cannot be made: {e}")))?;
    }
    let listener = UnixListener::bind(path).map_err(|e| error(e.to_string()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| error(format!("cannot be made private: {e}")))?;
    Ok(listener)
}

/// Answers until the shutdown.
pub(crate) async fn serve(
    listener: UnixListener,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route(path::STATUS, get(status))
        .route(path::QUEUE, get(list))
        .route(&format!("{}/{{id}}", path::QUEUE), get(show))
        .route(path::RELOAD, post(reload))
        .with_state(shared);
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

/// An answer other than `200`.
fn problem(code: StatusCode, error: impl Into<String>) -> Response {
    let error = error.into();
    (code, Json(Problem { error })).into_response()
}

fn store_problem(e: &StoreError) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, e.to_string())
}

fn stopping() -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, "relayd is going down")
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let Some(sending) = shared.sender.status().await else {
        return stopping();
    };
    let (messages, fresh) = (shared.store.count(), shared.store.count_fresh());
    let in_flight = u64::from(sending.in_flight);
    let mut destinations: Vec<Destination> = sending.destinations.iter().map(destination).collect();
    destinations.sort_by(|a, b| a.name.cmp(&b.name));
    Json(Status {
        messages,
        fresh,
        damaged: shared.store.count_damaged(),
        recipients: Recipients {
            queued: fresh.saturating_sub(in_flight),
            deferred: messages.saturating_sub(fresh.max(in_flight)),
            in_flight,
        },
        concurrency: shared.concurrency().into(),
        destinations,
        version: env!("CARGO_PKG_VERSION").into(),
        uptime: now().duration_since(shared.started).as_secs(),
        state_dir: shared.state_dir().display().to_string(),
        listeners: shared.listeners.iter().map(listener).collect(),
    })
    .into_response()
}

fn listener((address, role): &(std::net::SocketAddr, relay_smtpd::Role)) -> Listener {
    Listener {
        address: address.to_string(),
        role: role_name(*role).into(),
    }
}

fn destination(status: &relay_send::DestinationStatus) -> Destination {
    Destination {
        name: status.name.0.to_string(),
        waiting: status.waiting as u64,
        in_flight: status.in_flight.into(),
        slots: status.limit.into(),
        next_attempt: status.next_attempt.map(seconds),
        last_trouble: status.trouble.as_ref().map(Outcome::text),
    }
}

async fn reload(State(shared): State<Arc<Shared>>) -> Json<Reload> {
    let reloaded = tokio::task::spawn_blocking(move || shared.reload()).await;
    Json(Reload {
        problems: reloaded.unwrap_or_else(|_| vec!["relayd is going down".into()]),
    })
}

/// What the sender knows beyond the records.
struct Deliveries {
    /// Where each message under way is being delivered.
    running: HashMap<QueueId, Vec<relay_send::DestinationKey>>,
    /// Destinations that are left alone, and until when.
    waiting: HashMap<relay_send::DestinationKey, SystemTime>,
}

impl Deliveries {
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
        let waiting = troubled
            .filter_map(|d| Some((d.name, d.next_attempt?)))
            .collect();
        Some(Self { running, waiting })
    }
}

/// Streams the list page by page, so that a million messages neither fill memory nor hold anything
/// up: a page is read when the client has taken the one before.
async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let Some(deliveries) = Deliveries::of(&shared).await else {
        return stopping();
    };
    let (pieces, mut taken) = mpsc::channel::<Result<Vec<u8>, StoreError>>(1);
    tokio::spawn(async move {
        let mut after = None;
        let mut separator = "[";
        loop {
            let page = match shared.store.scan(after, PAGE).await {
                Ok(page) => page,
                Err(e) => return drop(pieces.send(Err(e)).await),
            };
            let is_last = page.len() < PAGE;
            after = page.last().map(|message| message.id).or(after);
            let mut piece = Vec::new();
            for message in &page {
                piece.extend_from_slice(separator.as_bytes());
                separator = ",";
                let entry = entry(&shared, &deliveries, message);
                serde_json::to_writer(&mut piece, &entry).unwrap_or_default();
            }
            if is_last {
                let end = if separator == "[" { "[]" } else { "]" };
                piece.extend_from_slice(end.as_bytes());
            }
            // A client that has gone away needs no more.
            if pieces.send(Ok(piece)).await.is_err() || is_last {
                return;
            }
        }
    });
    let stream = Body::from_stream(futures_util::stream::poll_fn(move |cx| taken.poll_recv(cx)));
    ([(CONTENT_TYPE, "application/json")], stream).into_response()
}

async fn show(
    State(shared): State<Arc<Shared>>,
    extract::Path(id): extract::Path<String>,
) -> Response {
    let unknown = || {
        problem(
            StatusCode::NOT_FOUND,
            format!("no message {id} in the queue"),
        )
    };
    let Ok(queue_id) = id.parse::<QueueId>() else {
        return unknown();
    };
    let Some(deliveries) = Deliveries::of(&shared).await else {
        return stopping();
    };
    match shared.store.get(queue_id).await {
        Ok(Some(message)) => Json(detail(&shared, &deliveries, &message)).into_response(),
        Ok(None) => unknown(),
        Err(e) => store_problem(&e),
    }
}

fn entry(shared: &Shared, deliveries: &Deliveries, message: &Message) -> Entry {
    let rows = message.recipients.iter();
    Entry {
        id: message.id.to_string(),
        sender: message.sender.as_str().to_owned(),
        arrived: seconds(message.arrived),
        size: message.size,
        held: message.held,
        recipients: rows
            .map(|row| recipient(shared, deliveries, message, row).0)
            .collect(),
    }
}

fn detail(shared: &Shared, deliveries: &Deliveries, message: &Message) -> Detail {
    let row = |row: &relay_queue::Recipient| {
        let (recipient, destination) = recipient(shared, deliveries, message, row);
        RecipientDetail {
            recipient,
            destination: destination.0.to_string(),
            last: row.last.as_ref().map(|(at, outcome)| attempt(*at, outcome)),
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
    deliveries: &Deliveries,
    message: &Message,
    row: &relay_queue::Recipient,
) -> (Recipient, relay_send::DestinationKey) {
    let destination = shared.deliver.destination(&message.sender, &row.address);
    let running = deliveries.running.get(&message.id);
    let is_running = running.is_some_and(|keys| keys.contains(&destination));
    let probe = deliveries.waiting.get(&destination).copied();
    let (state, due) = match row.state {
        RecipientState::Done => (Standing::Done, None),
        RecipientState::Failed { .. } => (Standing::Failed, None),
        _ if is_running => (Standing::InFlight, None),
        RecipientState::Queued if row.attempts == 0 => (Standing::Queued, probe),
        RecipientState::Queued => (Standing::Deferred, probe),
        RecipientState::Deferred { next_attempt } => (
            Standing::Deferred,
            Some(probe.map_or(next_attempt, |at| at.max(next_attempt))),
        ),
    };
    let last = row.last.as_ref().map(|(_, outcome)| outcome);
    let recipient = Recipient {
        address: row.address.as_str().to_owned(),
        state,
        attempts: row.attempts,
        next_attempt: due.map(seconds),
        last_reply: last.map(words),
        host: last
            .and_then(|outcome| outcome.peer.as_ref())
            .map(|peer| peer.host.clone()),
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
    Attempt {
        at: seconds(at),
        verdict: match outcome.verdict {
            Verdict::Delivered => "delivered",
            Verdict::Deferred => "deferred",
            Verdict::Failed => "failed",
        }
        .into(),
        status: outcome.status.to_string(),
        stage: outcome.stage.to_string(),
        host: peer.map(|peer| peer.host.clone()),
        address: peer.map(|peer| peer.address.to_string()),
        reply: outcome.reply.as_ref().map(ToString::to_string),
        detail: Some(outcome.detail.clone()).filter(|detail| !detail.is_empty()),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
