//! Events for those who follow along.

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tracing::Metadata;
use tracing::callsite::rebuild_interest_cache;

/// Events that a follower may be behind.
const CAPACITY: usize = 1024;

/// Where events go beside the log. Nobody waits for a follower: one that is too far behind misses
/// some, and is told how many.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    events: Sender<Bytes>,
}

impl Feed {
    pub(super) fn new() -> Self {
        let (events, _) = broadcast::channel(CAPACITY);
        Self { events }
    }

    /// Every event from now on, whatever the level of the log.
    pub(crate) fn follow(&self) -> Follower {
        let events = self.events.subscribe();
        rebuild_interest_cache();
        Follower {
            events: Some(events),
        }
    }

    /// Whether somebody wants it: what the relay itself says, not its details.
    pub(super) fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.is_event() && metadata.target().starts_with("relay");
        ours && *metadata.level() <= tracing::Level::INFO && self.is_followed()
    }

    pub(super) fn is_followed(&self) -> bool {
        self.events.receiver_count() > 0
    }

    pub(super) fn tell(&self, line: &[u8]) {
        // The last follower may have gone away this moment.
        let _ = self.events.send(Bytes::copy_from_slice(line));
    }
}

/// One who follows along.
#[derive(Debug)]
pub(crate) struct Follower {
    /// `None` only while it is being dropped.
    events: Option<Receiver<Bytes>>,
}

/// What a follower gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// An event as an object of JSON, with its line end.
    Event(Bytes),
    /// So many events came too fast.
    Missed(u64),
}

impl Follower {
    /// The next event; `None` when the log has ended.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        match self.events.as_mut()?.recv().await {
            Ok(event) => Some(Told::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Told::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.events = None;
        // What nobody wants any more is not even formatted.
        rebuild_interest_cache();
    }
}
