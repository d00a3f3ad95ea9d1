//! What holds for a whole session.

use std::sync::Arc;
use std::time::Duration;

use crate::body::BareNewline;

/// What a session knows of its server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name, in the greeting and the answer to EHLO.
    pub hostname: Arc<str>,
    /// What a client may ask of us.
    pub limits: Limits,
    /// A certificate is at hand: STARTTLS is offered in clear.
    pub starttls: bool,
    /// There are users: AUTH is offered behind TLS.
    pub auth: bool,
    /// What an address without a domain is taken for.
    pub bare_address: BareAddress,
}

/// What an address without a domain is taken for in MAIL and RCPT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BareAddress {
    /// For a syntax error, as RFC 5321 §4.1.2 has it.
    #[default]
    Refuse,
    /// For one at this domain, if the client has logged in; else for an error.
    CompleteForUsers(Arc<str>),
    /// For one at this domain.
    Complete(Arc<str>),
}

/// What carries the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// What anybody on the way may read and change.
    Clear,
    /// TLS, or what nobody else can reach, as a Unix socket.
    Tls,
}

/// What a client may ask of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a message, as SIZE counts them (RFC 1870 §3).
    pub message_size: u64,
    /// Octets of a message's header section.
    pub header_size: usize,
    /// Octets of a line of a message, without CR LF and a stuffed dot.
    pub line_length: usize,
    /// Recipients of a message.
    pub recipients: usize,
    /// Received fields of a message (RFC 5321 §6.3).
    pub hops: u32,
    /// Protocol errors that are answered each; the next one ends the session.
    pub errors: u32,
    /// How long to wait for a command, or for more of a message (RFC 5321 §4.5.3.2).
    pub command_timeout: Duration,
    /// What a bare CR or LF in a message is taken for.
    pub bare_newline: BareNewline,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 25 * 1024 * 1024,
            header_size: 256 * 1024,
            line_length: 64 * 1024,
            recipients: 100,
            hops: 100,
            errors: 20,
            command_timeout: Duration::from_mins(5),
            bare_newline: BareNewline::Refuse,
        }
    }
}
