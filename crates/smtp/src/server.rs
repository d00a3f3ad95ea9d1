//! The server's side of a session (RFC 5321, 2920, 1870, 6152, 2034, 6531), without I/O.
//!
//! A [`ServerSession`] takes bytes, decisions and time, and returns output, events and its next
//! deadline. The events and the output do not depend on how the input is split.
//!
//! | state | accepted input | left by |
//! |---|---|---|
//! | `Connected` | EHLO, HELO; no mail yet | EHLO or HELO → `Ready` |
//! | `Ready` | MAIL | MAIL accepted → `Transaction` |
//! | `Transaction` | RCPT, DATA | DATA accepted → `Receiving`; RSET, EHLO, HELO → `Ready` |
//! | `Receiving` | the message, up to CR LF . CR LF | the end of the message → `Ready` |
//! | `Authenticating` | the responses of an AUTH exchange | the end of the exchange → `Ready` |
//! | `Handshake` | nothing: input is discarded | `tls_started` → `Connected`, all state reset |
//! | `Closed` | nothing | – |
//!
//! RSET, NOOP, VRFY, EXPN, HELP and QUIT are accepted in every state that accepts commands.
//! STARTTLS is too, on a channel in clear; it leads to `Handshake`. AUTH is accepted in `Ready`
//! after EHLO, once, and never on a channel in clear.

mod auth;
mod commands;
mod event;
mod exchange;
mod line;
mod receiving;
pub mod replies;
mod session;
mod settings;

pub use event::{Credentials, Hello, MailRequest, Refusal, ServerEvent, Transaction};
pub use session::{ServerSession, SessionStep};
pub use settings::{BareAddress, Channel, SessionLimits, Settings};
