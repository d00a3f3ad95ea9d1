//! The one thing this crate asks of the world: try to deliver.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relay_queue::{Content, QueueId};
use relay_smtp::dsn::{DsnRequest, Notify, Orcpt};
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
    /// `RET` and `ENVID`, for a peer that offers DSN.
    pub dsn: DsnRequest,
    /// `NOTIFY` and `ORCPT` of each recipient, for a peer that offers DSN.
    pub wishes: Vec<(Notify, Option<Orcpt>)>,
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

/// How far an attempt has come: who delivers tells, who schedules reads.
#[derive(Debug, Clone)]
pub struct Progress {
    began: Instant,
    stage: Arc<Mutex<Reached>>,
}

#[derive(Debug, Default)]
struct Reached {
    connected: Option<Duration>,
    /// Recipients, by their place in the attempt, whose reports the peer has taken over.
    passed_on: BTreeSet<usize>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            stage: Arc::default(),
        }
    }

    /// A session is ready for MAIL FROM: name resolved, connected, greeted, TLS and AUTH done. Of
    /// several sessions the last counts.
    pub fn connected(&self) {
        self.lock().connected = Some(self.began.elapsed());
    }

    /// The peer offers DSN and was told what the sender asked for this recipient, by its place in
    /// [`Attempt::recipients`]: if it takes the message, reports of success are its own to make
    /// (RFC 3461 §5.2.1).
    pub fn passed_on(&self, recipient: usize) {
        self.lock().passed_on.insert(recipient);
    }

    /// How long it took until a session was ready, if one was.
    pub(crate) fn until_connected(&self) -> Option<Duration> {
        self.lock().connected
    }

    pub(crate) fn is_passed_on(&self, recipient: usize) -> bool {
        self.lock().passed_on.contains(&recipient)
    }

    fn lock(&self) -> MutexGuard<'_, Reached> {
        // Every change under this lock is whole: a panic leaves no half.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delivers, or says why not. `relayd` plugs `remote` in here.
pub trait Deliver: Send + Sync + 'static {
    /// What this recipient's mail waits in line for, by the configuration of this moment.
    fn destination(&self, sender: &ReversePath, recipient: &ForwardPath) -> DestinationKey;

    /// One attempt; one outcome for each recipient, in order. Never an error: failure is data.
    fn deliver(&self, attempt: Attempt) -> impl Future<Output = Vec<Outcome>> + Send;
}
