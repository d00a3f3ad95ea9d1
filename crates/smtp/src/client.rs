//! The client's side of a session (RFC 5321 §3), without I/O.
//!
//! [`ClientSession`] takes the replies of the peer and returns the commands to send, until a
//! transaction has an [`Answer`] for each recipient. Any behaviour of a peer has a defined result:
//! an answer, or a [`Trouble`] that ends the session.

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
