//! The mechanisms that are known here.

use std::fmt;

/// A mechanism by its registered name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// The password in one response (RFC 4616).
    Plain,
    /// User and password in a response each; never specified, widely spoken.
    Login,
    /// Proof of the password on both sides, without telling it (RFC 5802, RFC 7677).
    ScramSha256,
    /// A bearer token, as Google and Microsoft ask for it.
    XOauth2,
    /// A bearer token (RFC 7628).
    OAuthBearer,
}

impl Mechanism {
    /// Those that a server of ours takes, in the order of its announcement.
    pub const SERVED: [Self; 3] = [Self::Plain, Self::Login, Self::ScramSha256];

    const ALL: [Self; 5] = [
        Self::Plain,
        Self::Login,
        Self::ScramSha256,
        Self::XOauth2,
        Self::OAuthBearer,
    ];

    /// The mechanism of this name in any case, if it is known here.
    pub fn named(name: &str) -> Option<Self> {
        let is_it = |known: &Self| known.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(is_it)
    }

    /// Its name in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::XOauth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
