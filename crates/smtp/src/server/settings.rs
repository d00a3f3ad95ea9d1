//! The settings of a session.

use std::sync::Arc;
use std::time::Duration;

use crate::body::BareNewline;

/// The settings of the server for a session.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name, for the greeting and the reply to EHLO.
    pub hostname: Arc<str>,
    /// The limits for the client.
    pub limits: SessionLimits,
    /// Whether STARTTLS is offered in clear. It needs a certificate.
    pub starttls: bool,
    /// Whether AUTH is offered under TLS. It needs users.
    pub auth: bool,
    /// How to treat an address without a domain.
    pub bare_address: BareAddress,
}

/// How to treat an address without a domain in MAIL and RCPT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BareAddress {
    /// It is a syntax error, as in RFC 5321 §4.1.2.
    #[default]
    Refuse,
    /// If the client has logged in, this domain is added; otherwise it is an error.
    CompleteForUsers(Arc<str>),
    /// This domain is added.
    Complete(Arc<str>),
}

/// The protection of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// In clear: others on the network may read and change it.
    Clear,
    /// TLS, or a connection that others cannot reach, such as a Unix socket.
    Tls,
}

/// The limits for the client in one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// The most octets of a message, as SIZE counts them (RFC 1870 §3).
    pub message_size: u64,
    /// The most octets of a message's header section.
    pub header_size: usize,
    /// The most octets of a line of a message, without CR LF and a stuffed dot.
    pub line_length: usize,
    /// The most recipients of a message.
    pub recipients: usize,
    /// The most Received fields of a message (RFC 5321 §6.3).
    pub hops: u32,
    /// The most protocol errors that get their own reply. The next one ends the session.
    pub errors: u32,
    /// How long to wait for a command, or for the next part of a message (RFC 5321 §4.5.3.2).
    pub command_timeout: Duration,
    /// How to treat a bare CR or LF in a message.
    pub bare_newline: BareNewline,
}

impl Default for SessionLimits {
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
