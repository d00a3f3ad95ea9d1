//! SMTP (RFC 5321) as types and state machines.
//!
//! This crate does no I/O, reads no clock and does not use tokio. Bytes, decisions and time are
//! arguments; output and events are results. Values of the types are always valid, because they are
//! parsed once, on input.

pub mod address;
pub mod address_list;
pub mod body;
pub mod client;
pub mod command;
pub mod date;
pub mod dns_name;
pub mod dsn;
pub mod header;
pub mod outcome;
pub mod pattern;
mod recipient;
pub mod reply;
pub mod reply_parser;
pub mod sasl;
pub mod server;
pub mod status;

pub use address::{ForwardPath, Mailbox, ReversePath};
pub use outcome::{Outcome, Peer, Stage, Verdict};
pub use recipient::Recipient;
pub use reply::Reply;
pub use status::EnhancedStatus;
