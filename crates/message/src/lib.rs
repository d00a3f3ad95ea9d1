//! The vocabulary of a message on its way through the relay.
//!
//! `smtpd` takes a message in, `queue` keeps it, `send` decides when to try it, `remote` delivers it.
//! All four use the types of this crate, and meet at its two traits: [`QueueStore`] is a durable
//! queue, [`Deliver`] makes one delivery attempt.
//!
//! The crate does no I/O and knows no layout on disk: the serialised forms are in `relay-queue` and
//! `relay-control`.
//!
//! - [`id`]: the queue id of a message
//! - [`envelope`]: sender and recipients as a client gives them
//! - [`message`]: the record of a queued message, with the state of each recipient
//! - [`content`]: the bytes of a message
//! - [`accounting`]: counters of recipients that must balance
//! - [`store`], [`error`]: the contract of a queue, and how its operations fail
//! - [`deliver`]: the contract of a delivery attempt

pub mod accounting;
pub mod content;
pub mod deliver;
pub mod envelope;
pub mod error;
pub mod id;
pub mod message;
pub mod store;

pub use accounting::{Audit, Books, Settled};
pub use content::{Body, Content};
pub use deliver::{Attempt, Deliver, DestinationKey, Progress};
pub use envelope::{Envelope, NewMessage, Origin};
pub use error::StoreError;
pub use id::{IdError, QueueId};
pub use message::{HISTORY, Message, QueuedRecipient, RecipientChange, RecipientState};
pub use relay_smtp::Recipient;
pub use store::{Claim, HoldResult, QueueStore, Settlement, Spool};
