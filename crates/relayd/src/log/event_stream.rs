//! The stream of events for clients that follow them.

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tracing::Metadata;
use tracing::callsite::rebuild_interest_cache;

/// How many events a follower may lag behind.
const CAPACITY: usize = 1024;

/// Sends events to followers in addition to the log. It never waits for a follower. One that lags
/// too far behind misses events and receives their number.
#[derive(Debug, Clone)]
pub(crate) struct EventStream {
    events: Sender<Bytes>,
}

impl EventStream {
    pub(super) fn new() -> Self {
        let (events, _) = broadcast::channel(CAPACITY);
        Self { events }
    }

    /// Returns a follower of every event from now on, at any level of the log.
    pub(crate) fn follow(&self) -> Follower {
        let events = self.events.subscribe();
        rebuild_interest_cache();
        Follower {
            events: Some(events),
        }
    }

    /// Returns whether the event is sent to followers: they get the relay's own events without
    /// debugging details.
    pub(super) fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let is_own = metadata.is_event() && metadata.target().starts_with("relay");
        is_own && *metadata.level() <= tracing::Level::INFO && self.is_followed()
    }

    pub(super) fn is_followed(&self) -> bool {
        self.events.receiver_count() > 0
    }

    pub(super) fn send(&self, line: &[u8]) {
        // The last follower may have just disconnected.
        let _ = self.events.send(Bytes::copy_from_slice(line));
    }
}

/// Receives the events.
#[derive(Debug)]
pub(crate) struct Follower {
    /// `None` only while the follower is being dropped.
    events: Option<Receiver<Bytes>>,
}

/// What a follower receives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StreamItem {
    /// An event as a JSON object, with its line end.
    Event(Bytes),
    /// This many events were missed because they came too fast.
    Missed(u64),
}

impl Follower {
    /// Waits for the next event. Returns `None` when the log has ended.
    pub(crate) async fn next(&mut self) -> Option<StreamItem> {
        match self.events.as_mut()?.recv().await {
            Ok(event) => Some(StreamItem::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(StreamItem::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.events = None;
        // Without a follower, events below the log's level are not formatted at all.
        rebuild_interest_cache();
    }
}
