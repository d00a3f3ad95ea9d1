//! What can happen to a delivery, in our words and the peer's.

use std::io;

use relay_smtp::client::{Answer, Lack, Trouble};
use relay_smtp::{Reply, Stage};

use crate::secrets::SecretUnavailable;
use crate::tls::TlsFailure;

/// Everything that can decide a recipient's fate.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The recipient's domain, or the smarthost's name, does not exist.
    NoSuchName(String),
    /// The domain says that it takes no mail (RFC 7505).
    NullMx(String),
    /// The host has no address that we use. For a domain without MX this is RFC 3463's own example
    /// of X.4.4; for an MX RFC 5321 §5.1 asks for an error.
    NoAddress(String),
    /// Every address of the host is one that an MX must not lead to.
    AddressRefused(String),
    /// The best exchanger that is left is ourselves.
    Loop(String),
    /// The DNS did not answer the question for this name.
    DnsUnavailable(String, String),
    /// No connection.
    Unreachable(io::ErrorKind),
    /// The connection broke at this stage; whether the message may have been taken.
    Lost(Stage, DuplicateRisk),
    /// The host did not answer in time at this stage.
    TimedOut(Stage, DuplicateRisk),
    /// There is no secret to log in with.
    NoSecret(SecretUnavailable),
    /// There is no TLS with the host, or not with the right one.
    Tls(TlsFailure),
    /// The session ended on the peer's words.
    Session(Trouble),
    /// The recipient was answered.
    Answered(Answer),
    /// The message could not be read from the queue.
    Unreadable(io::ErrorKind),
    /// There was nothing left to try.
    Untried,
}

/// Whether the peer may have taken the message without our knowing (RFC 1047).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DuplicateRisk {
    /// It cannot have.
    None,
    /// The final dot had been sent.
    MayBeDelivered,
}

impl Cause {
    /// On one line, for the log.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Session(Trouble::Refused(_, reply)) => reply.to_string(),
            _ => self.detail(),
        }
    }

    /// Our own words, where no reply says it all.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::NoSuchName(name) => format!("there is no domain {name} in the DNS"),
            Self::NullMx(domain) => format!("{domain} takes no mail (null MX)"),
            Self::NoAddress(host) => format!("{host} has no address to send mail to"),
            Self::AddressRefused(host) => {
                format!("every address of {host} is unspecified or in delivery.refuse_addresses")
            }
            Self::Loop(domain) => format!("mail for {domain} would come back to this host"),
            Self::DnsUnavailable(name, why) => format!("DNS lookup of {name} failed: {why}"),
            Self::Unreachable(kind) => format!("no SMTP connection: {kind}"),
            Self::Lost(_, risk) => format!("lost connection{}", risk.text()),
            Self::TimedOut(_, risk) => format!("no reply in time{}", risk.text()),
            Self::NoSecret(reason) => reason.to_string(),
            Self::Tls(failure) => failure.to_string(),
            Self::Session(Trouble::NoTls) => "the host does not offer STARTTLS".to_owned(),
            Self::Session(Trouble::NoMechanism { offered }) => {
                format!("the host offers no AUTH mechanism for these credentials, only {offered:?}")
            }
            Self::Session(Trouble::AuthInClear) => {
                "credentials are not sent without TLS".to_owned()
            }
            Self::Session(Trouble::Challenge(error)) => {
                format!("AUTH ended: {error}")
            }
            Self::Session(Trouble::Garbled(_, error)) => error.to_string(),
            Self::Session(Trouble::Unexpected(..)) => "a reply that makes no sense here".to_owned(),
            Self::Answered(Answer::Unsupported(Lack::Utf8)) => {
                "the host does not offer SMTPUTF8".to_owned()
            }
            Self::Answered(Answer::Unsupported(Lack::Room { limit })) => {
                format!("the host takes no message of more than {limit} octets")
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
