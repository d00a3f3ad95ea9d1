//! The result of one delivery attempt for one recipient. A failed delivery is a value, not an
//! error.
//!
//! An outcome is part of a record of the queue: the order of its fields and variants is part of the queue's format,
//! which the golden octets in `queue/record/tests.rs` hold.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::reply::Reply;
use crate::status::EnhancedStatus;

/// The result of an attempt for a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The remote host has taken responsibility for the message.
    Delivered,
    /// The delivery will be tried again.
    Deferred,
    /// The delivery will not be tried again. The sender must be notified.
    Failed,
}

/// The step of a delivery that produced an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Looking up the mail hosts of the domain.
    Route,
    /// Opening the connection.
    Connect,
    /// Waiting for the greeting.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS and the handshake.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, up to its 354.
    Data,
    /// The message itself, up to the reply to the final dot.
    Message,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Route => "route lookup",
            Stage::Connect => "connection",
            Stage::Greeting => "greeting",
            Stage::Hello => "EHLO",
            Stage::Tls => "STARTTLS",
            Stage::Auth => "AUTH",
            Stage::Mail => "MAIL FROM",
            Stage::Rcpt => "RCPT TO",
            Stage::Data => "DATA",
            Stage::Message => "end of DATA",
        })
    }
}

/// The host that produced an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name: that of the MX or of the smarthost.
    pub host: String,
    /// The address and port that were tried.
    pub address: SocketAddr,
    /// The TLS protection of the connection; `None` means clear text. It is not serialized with the
    /// host, because the first layout of the queue record had no place for it. Later layouts store
    /// it separately.
    #[serde(skip)]
    pub tls: Option<TlsParameters>,
}

/// The TLS protection of a connection, as negotiated in the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsParameters {
    /// `TLSv1.3`
    pub version: TlsName,
    /// `TLS13_AES_256_GCM_SHA384`
    pub cipher: TlsName,
    /// Whether the host's certificate was checked for its name and its issuer.
    pub verified: bool,
}

/// The name of a TLS version or cipher suite: visible ASCII without a space, at most
/// [`TlsName::MAX`] octets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct TlsName(Cow<'static, str>);

/// The text cannot be the name of a TLS version or cipher suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a TLS version or cipher suite")]
pub struct TlsNameError;

impl TlsName {
    /// The most octets of a name. The longest in IANA's registry has 46.
    pub const MAX: usize = 64;

    /// Makes a name from a constant of the program.
    pub const fn known(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TlsName {
    type Error = TlsNameError;

    fn try_from(name: String) -> Result<Self, TlsNameError> {
        let is_name = name.bytes().all(|octet| octet.is_ascii_graphic());
        if name.is_empty() || name.len() > Self::MAX || !is_name {
            return Err(TlsNameError);
        }
        Ok(Self(Cow::Owned(name)))
    }
}

impl fmt::Display for TlsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Formats the protection on one line, for logs: `TLSv1.3 TLS13_AES_256_GCM_SHA384 verified`.
impl fmt::Display for TlsParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verified = if self.verified {
            "verified"
        } else {
            "unverified"
        };
        write!(f, "{} {} {verified}", self.version, self.cipher)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}[{}]:{}",
            self.host,
            self.address.ip(),
            self.address.port()
        )
    }
}

/// One attempt's outcome for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Delivered, deferred or failed.
    pub verdict: Verdict,
    /// The enhanced status. It is the one in the reply, if its class matches the result.
    pub status: EnhancedStatus,
    /// The step that decided the result.
    pub stage: Stage,
    /// The last host that was tried, if any.
    pub peer: Option<Peer>,
    /// The complete reply, if a reply decided the result.
    pub reply: Option<Reply>,
    /// Our own description if no reply decided the result, such as "connection refused", on one
    /// line.
    pub detail: String,
}

impl Outcome {
    /// Formats the outcome on one line: the remote's text and the command that it answers, or our
    /// text.
    pub fn text(&self) -> String {
        match (&self.peer, &self.reply) {
            (Some(peer), Some(reply)) => {
                format!("{peer} said: {reply} (in reply to {})", self.stage)
            }
            (None, Some(reply)) => format!("{reply} (in reply to {})", self.stage),
            (Some(peer), None) => format!("{peer}: {} ({})", self.detail, self.stage),
            (None, None) => self.detail.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_name_is_short_visible_ascii() {
        for good in ["TLSv1.3", "TLS13_AES_256_GCM_SHA384", &"x".repeat(64)] {
            let name = TlsName::try_from(good.to_owned()).expect("a name");
            assert_eq!(name.as_str(), good);
        }
        for bad in ["", "two words", "line\n", "\u{e9}", &"x".repeat(65)] {
            assert_eq!(TlsName::try_from(bad.to_owned()), Err(TlsNameError));
        }
    }
}
