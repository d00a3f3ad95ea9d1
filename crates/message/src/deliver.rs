//! The contract of a delivery attempt.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use relay_smtp::dsn::DsnRequest;
use relay_smtp::{ForwardPath, Outcome, Recipient, ReversePath};

use crate::content::Content;
use crate::id::QueueId;
use crate::message::{Message, QueuedRecipient};

/// The name of a destination: what shares slots, back-off and transactions. It is a domain or a
/// smarthost route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationKey(pub Arc<str>);

/// One delivery attempt: one message for recipients of one destination.
#[derive(Debug)]
pub struct Attempt {
    /// The message.
    pub id: QueueId,
    /// The number of this delivery in the log.
    pub delivery: u64,
    /// The address for MAIL FROM.
    pub sender: ReversePath,
    /// The recipients with their `NOTIFY` and `ORCPT` options; at most 100.
    pub recipients: Vec<Recipient>,
    /// The `RET` and `ENVID` options, for a peer that offers DSN.
    pub dsn: DsnRequest,
    /// Whether the message needs `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// Whether the message needs `SMTPUTF8`.
    pub utf8: bool,
    /// Octets of head and body.
    pub size: u64,
    /// The bytes.
    pub content: Content,
    /// Receives the progress of the attempt.
    pub progress: Arc<dyn Progress>,
}

/// Receives the progress of an attempt while it is under way.
pub trait Progress: fmt::Debug + Send + Sync {
    /// A session is ready for MAIL FROM: the name is resolved, and connecting, greeting, TLS and
    /// AUTH are done. If an attempt uses several sessions, the last call counts.
    fn connected(&self);

    /// The peer has accepted the message for this recipient and offers DSN. It has received the
    /// sender's options, so it makes the reports of success itself (RFC 3461 §5.2.1). `recipient` is
    /// an index into [`Attempt::recipients`].
    fn passed_on(&self, recipient: usize);
}

/// Ignores the progress.
impl Progress for () {
    fn connected(&self) {}

    fn passed_on(&self, _: usize) {}
}

/// Makes delivery attempts.
pub trait Deliver: Send + Sync + 'static {
    /// Returns the destination of a recipient, by the configuration in use now.
    fn destination(&self, sender: &ReversePath, recipient: &ForwardPath) -> DestinationKey;

    /// Returns the destination of a recipient of a queued message.
    fn destination_of(&self, message: &Message, recipient: &QueuedRecipient) -> DestinationKey {
        self.destination(&message.sender, &recipient.to.path)
    }

    /// Makes one attempt and returns one outcome for each recipient, in order. This never fails: a
    /// failure is an outcome.
    fn deliver(&self, attempt: Attempt) -> impl Future<Output = Vec<Outcome>> + Send;
}
