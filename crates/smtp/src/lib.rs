//! SMTP (RFC 5321) as types and state machines.
//!
//! Nothing here does I/O, reads a clock or knows tokio: bytes, decisions and time are
//! arguments, output and events are results. Values of the types are known to be good:
//! they are parsed once, at the edge.

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
