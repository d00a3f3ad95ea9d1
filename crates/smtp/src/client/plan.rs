//! How a session is protected, and the user that it logs in as.

use crate::sasl::scram::Nonce;
use crate::sasl::{Secret, UserName};

/// The steps of a session before its first transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whether TLS is used.
    pub tls: TlsUse,
    /// The credentials, if the session logs in.
    pub credentials: Option<Credentials>,
}

impl Plan {
    /// A session in clear, without a login.
    pub const CLEAR: Self = Self {
        tls: TlsUse::Never,
        credentials: None,
    };
}

/// Whether a session uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsUse {
    /// No TLS, even if the peer offers it.
    Never,
    /// TLS if the peer offers it. After a refused STARTTLS the session continues in clear, unless
    /// it has credentials that must not be sent in clear.
    IfOffered,
    /// TLS; without it the session ends.
    Required,
    /// TLS that is active before the greeting.
    Active,
}

/// A user and the proof of its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: UserName,
    /// The password or token.
    pub proof: Proof,
    /// Whether the credentials may be sent without TLS. This is only for peers on loopback.
    pub in_clear: bool,
    /// The client's part of the SCRAM nonce, new for every session.
    pub nonce: Nonce,
}

/// The proof of a user's identity. Its kind decides the mechanism: a password is never sent as a
/// token, nor a token as a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A password, for the first of SCRAM-SHA-256, PLAIN and LOGIN that is offered.
    Password(Secret),
    /// A bearer token, for the first of XOAUTH2 and OAUTHBEARER that is offered.
    Token(Secret),
}
