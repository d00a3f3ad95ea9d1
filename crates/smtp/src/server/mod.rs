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
//! | `Closed` | nothing | – |
//!
//! RSET, NOOP, VRFY, EXPN, HELP and QUIT are taken in every state that takes commands. STARTTLS
//! leads from any of these back to `Connected`, everything before it forgotten; AUTH is an exchange
//! of lines between two visits to `Ready`. Neither is offered yet, so both are answered with `502`.

mod commands;
mod event;
mod header;
mod line;
mod receiving;
pub mod replies;
mod session;
mod settings;

pub use event::{Credentials, Event, Hello, MailRequest, Refusal, Transaction};
pub use session::{ServerSession, Step};
pub use settings::{Channel, Limits, Settings};
