//! The one thing this crate asks of the world: try to deliver.

use std::future::Future;
use std::sync::Arc;

use relay_queue::{Content, QueueId};
use relay_smtp::{ForwardPath, Outcome, ReversePath};

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
}

/// Delivers, or says why not. `relayd` plugs `remote` in here.
pub trait Deliver: Send + Sync + 'static {
    /// What this recipient's mail waits in line for, by the configuration of this moment.
    fn destination(&self, sender: &ReversePath, recipient: &ForwardPath) -> DestinationKey;

    /// One attempt; one outcome for each recipient, in order. Never an error: failure is data.
    fn deliver(&self, attempt: Attempt) -> impl Future<Output = Vec<Outcome>> + Send;
}
