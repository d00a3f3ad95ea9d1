//! The one thing this crate asks of the world: try to deliver.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relay_queue::{Content, QueueId};
use relay_smtp::{ForwardPath, Outcome, ReversePath};
use tokio::time::Instant;

/// What shares slots, back-off and transactions: a domain, or a smarthost route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationKey(pub Arc<str>);

/// One attempt: one message, recipients of one destination.
#[derive(Debug)]
pub struct Attempt {
    /// The message.
    pub id: QueueId,
    /// The number of this delivery in the log.
    pub delivery: u64,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// RCPT TO; at most 100.
    pub recipients: Vec<ForwardPath>,
    /// `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// `SMTPUTF8`.
    pub utf8: bool,
    /// Octets of head and body.
    pub size: u64,
    /// The bytes.
    pub content: Content,
    /// To be told how far the attempt has come.
    pub progress: Progress,
}

/// How far an attempt has come, for the log: who delivers tells, who schedules reads.
#[derive(Debug, Clone)]
pub struct Progress {
    began: Instant,
    connected: Arc<Mutex<Option<Duration>>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            connected: Arc::default(),
        }
    }

    /// A session is ready for MAIL FROM: name resolved, connected, greeted, TLS and AUTH done. Of
    /// several sessions the last counts.
    pub fn connected(&self) {
        *self.lock() = Some(self.began.elapsed());
    }

    /// How long it took until a session was ready, if one was.
    pub(crate) fn until_connected(&self) -> Option<Duration> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Duration>> {
        // One assignment under this lock: a panic leaves no half.
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delivers, or says why not. `relayd` plugs `remote` in here.
pub trait Deliver: Send + Sync + 'static {
    /// What this recipient's mail waits in line for, by the configuration of this moment.
    fn destination(&self, sender: &ReversePath, recipient: &ForwardPath) -> DestinationKey;

    /// One attempt; one outcome for each recipient, in order. Never an error: failure is data.
    fn deliver(&self, attempt: Attempt) -> impl Future<Output = Vec<Outcome>> + Send;
}
