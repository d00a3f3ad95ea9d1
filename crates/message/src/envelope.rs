//! The envelope of a message, and who made the message.

use std::time::SystemTime;

use bytes::Bytes;
use relay_smtp::dsn::DsnRequest;
use relay_smtp::{Recipient, ReversePath};

use crate::id::QueueId;

/// The envelope as the client gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The address in MAIL FROM.
    pub sender: ReversePath,
    /// The recipients in the order of their RCPT TO. All other calls name a recipient by its index
    /// in this list.
    pub recipients: Vec<Recipient>,
    /// Whether the client said `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// Whether the client said `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
    /// The `RET` and `ENVID` options (RFC 3461).
    pub dsn: DsnRequest,
}

/// Who made a message.
///
/// A failed bounce and a client's own message with the null sender differ: the first is reported to
/// the postmaster once, the second is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client sent it.
    Client,
    /// It is our report to a sender.
    Bounce,
    /// It is our report to the postmaster that a bounce failed. It never causes another report.
    DoubleBounce,
}

/// A message that enters the queue without a [`crate::Spool`]: a report of our own.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The id, from [`crate::QueueStore::next_id`]. The report's own header contains it.
    pub id: QueueId,
    /// Which kind of report it is.
    pub origin: Origin,
    /// The sender and the recipients.
    pub envelope: Envelope,
    /// When it entered the queue.
    pub arrived: SystemTime,
    /// What is sent before the body.
    pub head: Bytes,
    /// The rest of the message.
    pub body: Bytes,
}
