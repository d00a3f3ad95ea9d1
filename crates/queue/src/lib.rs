//! The durable message store (qmail-queue).
//!
//! [`store::QueueStore`] is the whole contract. [`store::QueueStore::commit`] returns once the
//! message would survive power loss; nothing outside this crate touches sled or the spool.

pub mod error;
pub mod id;
pub mod message;
pub mod store;

pub use error::StoreError;
pub use id::QueueId;
pub use message::{Body, Content, Envelope, Message, NewMessage, Recipient, RecipientState};
pub use store::{Claim, QueueStore, Settlement, Spool};
