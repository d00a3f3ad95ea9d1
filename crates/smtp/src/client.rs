//! The client's side of a session (RFC 5321 §3), without I/O.
//!
//! [`ClientSession`] is given what the peer said and gives back what is to be said, until a
//! transaction has an [`Answer`] for each recipient. Whatever a peer does ends in a defined result:
//! an answer, or a [`Trouble`] after which the session is over.

mod content;
mod envelope;
mod event;
mod extensions;
mod login;
mod opening;
mod plan;
mod session;
mod transaction;

pub use content::ContentEncoder;
pub use envelope::{Answer, Envelope, Lack};
pub use event::{Event, Trouble};
pub use extensions::Extensions;
pub use plan::{Credentials, Plan, Proof, TlsUse};
pub use session::ClientSession;
