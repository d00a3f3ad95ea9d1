//! The supported mechanisms.

use std::fmt;

/// A mechanism by its registered name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// PLAIN: the user and the password in one response (RFC 4616).
    Plain,
    /// LOGIN: the user and the password in one response each. It was never specified, but is widely
    /// used.
    Login,
    /// SCRAM: both sides prove that they know the password without sending it (RFC 5802, RFC 7677).
    ScramSha256,
    /// XOAUTH2: a bearer token, as Google and Microsoft require it.
    XOauth2,
    /// OAUTHBEARER: a bearer token (RFC 7628).
    OAuthBearer,
}

impl Mechanism {
    /// The mechanisms that our server offers, in the order of the EHLO reply.
    pub const SERVED: [Self; 3] = [Self::Plain, Self::Login, Self::ScramSha256];

    const ALL: [Self; 5] = [
        Self::Plain,
        Self::Login,
        Self::ScramSha256,
        Self::XOauth2,
        Self::OAuthBearer,
    ];

    /// Returns the mechanism of this name, if it is supported. Case is ignored.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(name))
    }

    /// The name in capitals.
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
