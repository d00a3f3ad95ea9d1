//! The causes that can decide a delivery, with a text for each.

use std::io;

use relay_smtp::client::{Answer, Lack, Trouble};
use relay_smtp::{Reply, Stage};

use crate::secrets::SecretUnavailable;
use crate::tls::TlsFailure;

/// An event that can decide the outcome for a recipient.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The recipient's domain, or the smarthost's name, does not exist.
    NoSuchName(String),
    /// The domain accepts no mail (null MX, RFC 7505).
    NullMx(String),
    /// The host has no address of a family that the relay uses. For a domain without MX this is the
    /// example of X.4.4 in RFC 3463; for an MX, RFC 5321 §5.1 asks for an error.
    NoAddress(String),
    /// `refuse_addresses` forbids every address of the host.
    AddressRefused(String),
    /// The best remaining exchanger is this relay.
    Loop(String),
    /// The lookup of this name failed, for this reason.
    DnsUnavailable(String, String),
    /// No connection could be made.
    Unreachable(io::ErrorKind),
    /// The connection was lost at this stage.
    Lost(Stage, DuplicateRisk),
    /// The host did not answer in time at this stage.
    TimedOut(Stage, DuplicateRisk),
    /// The password or token for the smarthost is not available.
    NoSecret(SecretUnavailable),
    /// The TLS handshake failed, or the certificate was not accepted.
    Tls(TlsFailure),
    /// The session ended because of a reply.
    Session(Trouble),
    /// The host answered for the recipient.
    Answered(Answer),
    /// The message could not be read from the queue.
    Unreadable(io::ErrorKind),
    /// No host was left to try.
    Untried,
}

/// Whether the peer may have accepted the message without the relay knowing (RFC 1047).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DuplicateRisk {
    /// The peer cannot have accepted it.
    None,
    /// The final dot had been sent, so the peer may have delivered it.
    MayBeDelivered,
}

impl Cause {
    /// The cause on one line, for the log.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Session(Trouble::Refused(_, reply)) => reply.to_string(),
            _ => self.detail(),
        }
    }

    /// The relay's own explanation. Empty if the reply explains it.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::NoSuchName(name) => format!("the domain {name} does not exist"),
            Self::NullMx(domain) => format!("{domain} accepts no mail (null MX)"),
            Self::NoAddress(host) => format!("{host} has no usable address"),
            Self::AddressRefused(host) => {
                format!("delivery.refuse_addresses forbids every address of {host}")
            }
            Self::Loop(domain) => format!("mail for {domain} would come back to this relay"),
            Self::DnsUnavailable(name, why) => format!("DNS lookup of {name} failed: {why}"),
            Self::Unreachable(kind) => format!("no SMTP connection: {kind}"),
            Self::Lost(_, risk) => format!("lost connection{}", risk.text()),
            Self::TimedOut(_, risk) => format!("no reply in time{}", risk.text()),
            Self::NoSecret(reason) => reason.to_string(),
            Self::Tls(failure) => failure.to_string(),
            Self::Session(Trouble::NoTls) => "the host does not offer STARTTLS".to_owned(),
            Self::Session(Trouble::NoMechanism { offered }) => {
                format!(
                    "the host offers no AUTH mechanism that fits these credentials, only {offered:?}"
                )
            }
            Self::Session(Trouble::AuthInClear) => {
                "credentials are not sent without TLS".to_owned()
            }
            Self::Session(Trouble::Challenge(error)) => {
                format!("AUTH ended: {error}")
            }
            Self::Session(Trouble::Garbled(_, error)) => error.to_string(),
            Self::Session(Trouble::Unexpected(..)) => "unexpected reply".to_owned(),
            Self::Answered(Answer::Unsupported(Lack::Utf8)) => {
                "the host does not offer SMTPUTF8".to_owned()
            }
            Self::Answered(Answer::Unsupported(Lack::Room { limit })) => {
                format!("the host accepts no message of more than {limit} octets")
            }
            Self::Session(
                Trouble::Refused(..) | Trouble::TlsRefused(_) | Trouble::AuthRefused(_),
            )
            | Self::Answered(Answer::Taken(_) | Answer::Refused(..)) => String::new(),
            Self::Unreadable(kind) => format!("cannot read the message from the queue: {kind}"),
            Self::Untried => "no host was left to try".to_owned(),
        }
    }

    pub(super) fn into_reply(self) -> Option<Reply> {
        match self {
            Self::Session(
                Trouble::Refused(_, reply)
                | Trouble::Unexpected(_, reply)
                | Trouble::TlsRefused(reply)
                | Trouble::AuthRefused(reply),
            )
            | Self::Answered(Answer::Taken(reply) | Answer::Refused(_, reply)) => Some(reply),
            Self::Session(
                Trouble::Garbled(..)
                | Trouble::NoTls
                | Trouble::NoMechanism { .. }
                | Trouble::AuthInClear
                | Trouble::Challenge(_),
            )
            | Self::NoSecret(_)
            | Self::Tls(_)
            | Self::Answered(Answer::Unsupported(_))
            | Self::NoSuchName(_)
            | Self::NullMx(_)
            | Self::NoAddress(_)
            | Self::AddressRefused(_)
            | Self::Loop(_)
            | Self::DnsUnavailable(..)
            | Self::Unreachable(_)
            | Self::Lost(..)
            | Self::TimedOut(..)
            | Self::Unreadable(_)
            | Self::Untried => None,
        }
    }
}

impl DuplicateRisk {
    fn text(self) -> &'static str {
        match self {
            DuplicateRisk::None => "",
            DuplicateRisk::MayBeDelivered => {
                " after the whole message was sent: it may have been delivered, so a duplicate is possible"
            }
        }
    }
}
