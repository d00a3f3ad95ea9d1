//! Reports the state of the relay.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use relay_control::{Alarm, Destination, ListenerStatus, Messages, Status};
use relay_message::{QueueId, QueueStore};
use relay_smtp::Outcome;
use relay_smtpd::{ListenerAddress, Role};

use super::audit::accounting;
use super::error::ApiError;
use super::seconds;
use crate::clock;
use crate::role::role_name;
use crate::shared::Shared;

pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<Status>, ApiError> {
    let sending = shared.sender.status().await.ok_or(ApiError::Stopping)?;
    let running = sending.deliveries.iter().map(|(id, _)| *id).collect();
    let (messages, fresh) = (shared.store.count(), shared.store.count_fresh());
    let mut destinations: Vec<_> = sending.destinations.iter().map(destination).collect();
    destinations.sort_by(|a, b| a.name.cmp(&b.name));
    let (now, alarms) = (clock::now(), shared.deliver.alarms());
    let alarms = alarms.into_iter().map(|alarm| described(alarm, now));
    let of_queue = match &sending.store_trouble {
        Some(trouble) => Some(stuck(trouble)),
        None => unreadable(shared.store.as_ref(), now).await,
    };
    Ok(Json(Status {
        messages,
        fresh,
        damaged: shared.store.count_damaged(),
        states: states(&shared, messages, fresh, &running).await,
        accounting: accounting(shared.store.books()),
        concurrency: shared.concurrency().into(),
        destinations,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: shared.started.elapsed().as_secs(),
        state_dir: shared.state_dir().display().to_string(),
        listeners: shared.listeners.iter().map(listener).collect(),
        certificates: shared.certificates(now),
        alarms: of_queue.into_iter().chain(alarms).collect(),
        reading: !sending.is_complete,
        reports_suppressed: sending.reports_suppressed,
        rules: shared.standing_rules.lock().await.described(),
    }))
}

/// Counts messages by state. Only the records of messages in delivery are read, which are few, to
/// find out which of them are tried for the first time.
async fn states(
    shared: &Shared,
    messages: u64,
    fresh: u64,
    running: &HashSet<QueueId>,
) -> Messages {
    let (mut in_flight, mut of_them_fresh) = (0, 0);
    for id in running {
        match shared.store.get(*id).await {
            Ok(Some(message)) => {
                in_flight += 1;
                of_them_fresh += u64::from(message.is_fresh());
            }
            // The message has left the queue.
            Ok(None) => {}
            Err(_) => in_flight += 1,
        }
    }
    let tried = messages.saturating_sub(fresh);
    Messages {
        queued: fresh.saturating_sub(of_them_fresh),
        deferred: tried.saturating_sub(in_flight - of_them_fresh),
        in_flight,
    }
}

fn listener((address, role): &(ListenerAddress, Role)) -> ListenerStatus {
    ListenerStatus {
        address: address.to_string(),
        role: role_name(*role).to_owned(),
    }
}

/// Returns the alarm that explains why nothing is delivered.
fn stuck(trouble: &relay_send::StoreTrouble) -> Alarm {
    Alarm {
        about: "the queue".to_owned(),
        since: seconds(trouble.since),
        reason: format!(
            "cannot be written, so nothing is delivered: {}",
            trouble.reason
        ),
    }
}

/// Returns an alarm if the queue cannot be read. No message has the id that is read.
async fn unreadable(store: &impl QueueStore, now: SystemTime) -> Option<Alarm> {
    let reason = store.get(QueueId::from_bits(0)).await.err()?;
    Some(Alarm {
        about: "the queue".to_owned(),
        since: seconds(now),
        reason: format!("cannot be read: {reason}"),
    })
}

fn described(alarm: relay_remote::Alarm, now: SystemTime) -> Alarm {
    Alarm {
        about: alarm.destination.to_string(),
        since: seconds(now.checked_sub(alarm.age).unwrap_or(UNIX_EPOCH)),
        reason: alarm.text,
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

#[cfg(test)]
mod tests {
    use relay_queue::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_queue_that_does_not_answer_is_an_alarm() {
        let store = MemoryStore::default();
        assert_eq!(unreadable(&store, UNIX_EPOCH).await, None);
        store.close().await.expect("nothing waits");
        let alarm = unreadable(&store, UNIX_EPOCH).await.expect("an alarm");
        assert!(alarm.reason.starts_with("cannot be read: "), "{alarm:?}");
    }
}
