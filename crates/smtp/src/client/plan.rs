//! How a session is to be protected, and as whom.

use crate::sasl::scram::Nonce;
use crate::sasl::{Secret, UserName};

/// What a session does before its first transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What TLS is used for.
    pub tls: TlsUse,
    /// Who logs in, if anybody does.
    pub credentials: Option<Credentials>,
}

impl Plan {
    /// In clear, as nobody.
    pub const CLEAR: Self = Self {
        tls: TlsUse::Never,
        credentials: None,
    };
}

/// When a session is under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsUse {
    /// Not even if the peer offers it.
    Never,
    /// If the peer offers it; a refused STARTTLS changes nothing, unless there are credentials that
    /// are not for a connection in clear.
    IfOffered,
    /// Or there is no session.
    Required,
    /// It was there before the greeting.
    Active,
}

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: UserName,
    /// By what.
    pub proof: Proof,
    /// To be shown without TLS too: for a peer that no network lies before, loopback alone.
    pub in_clear: bool,
    /// New for every session.
    pub nonce: Nonce,
}

/// What proves a user. Its kind decides the mechanism: a password is never sent where a token was
/// meant, nor the other way about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A password: SCRAM-SHA-256, PLAIN or LOGIN, the first of these that is offered.
    Password(Secret),
    /// A bearer token: XOAUTH2 or OAUTHBEARER, the first of these that is offered.
    Token(Secret),
}
