//! The server's side of a session (RFC 5321, 2920, 1870, 6152, 2034, 6531), without I/O.
//!
//! A [`ServerSession`] takes bytes, decisions and time, and gives back output, events and its next
//! deadline. However the input is cut, the events and the output are the same.
//!
//! | state | what is taken there | left by |
//! |---|---|---|
//! | `Connected` | EHLO, HELO; no mail yet | EHLO or HELO → `Ready` |
//! | `Ready` | MAIL | MAIL accepted → `Transaction` |
//! | `Transaction` | RCPT, DATA | DATA accepted → `Receiving`; RSET, EHLO, HELO → `Ready` |
//! | `Receiving` | the message, up to CR LF . CR LF | its end → `Ready` |
//! | `Authenticating` | the responses of an AUTH exchange | its end, good or bad → `Ready` |
//! | `Handshake` | nothing: what comes is dropped | `tls_started` → `Connected`, all forgotten |
//! | `Closed` | nothing | – |
//!
//! RSET, NOOP, VRFY, EXPN, HELP and QUIT are taken in every state that takes commands. So is
//! STARTTLS on a channel in clear, which leads to `Handshake`; AUTH is taken in `Ready` behind EHLO,
//! once, and never on a channel in clear.

mod auth;
mod commands;
mod event;
mod exchange;
mod line;
mod receiving;
pub mod replies;
mod session;
mod settings;

pub use event::{Credentials, Event, Hello, MailRequest, Refusal, Transaction};
pub use session::{ServerSession, SessionStep};
pub use settings::{BareAddress, Channel, Limits, Settings};
