//! The only place that turns an event into a verdict.
//!
//! A definite answer of the DNS or of a host about the message fails the message. A condition that
//! can change later defers it: no answer, no connection, a lost connection, a reply that is not
//! SMTP, any 4xx reply, and required TLS or AUTH that does not work. A smarthost is the operator's
//! own choice, so a problem with a smarthost itself never fails a message. It defers the mail and
//! raises an alarm.

mod cause;

use relay_smtp::client::{Answer, Lack, Trouble};
use relay_smtp::status::Class;
use relay_smtp::{EnhancedStatus, Outcome, Peer, Reply, Stage, Verdict};

pub(crate) use self::cause::{Cause, DuplicateRisk};

/// Replies that ask for credentials, or for other ones, after any command (RFC 4954 §6).
const ABOUT_CREDENTIALS: [u16; 4] = [530, 534, 535, 538];

/// Who chose the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hop {
    /// The recipient's domain, by its MX records.
    Recipient,
    /// The operator, by a route.
    Smarthost,
}

/// An outcome, and whether it raises an alarm.
#[derive(Debug)]
pub(crate) struct Classified {
    pub(crate) outcome: Outcome,
    pub(crate) alarm: bool,
}

/// The meaning of a cause, regardless of who chose the host.
struct Classification {
    stage: Stage,
    status: EnhancedStatus,
    about: About,
    then: Then,
}

/// The subject of a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The host itself. If it is a smarthost, the operator gets an alarm.
    Host,
    /// The message, a recipient, or a temporary network condition.
    Mail,
}

/// Whether to try the next host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    NextHost,
    Stop,
}

impl Cause {
    /// Whether to try the next host. After a possible delivery no other host is tried: that would
    /// turn a possible duplicate into a certain one.
    pub(crate) fn tries_next_host(&self) -> bool {
        self.classification().then == Then::NextHost
    }

    fn classification(&self) -> Classification {
        use About::{Host, Mail};
        use Then::{NextHost, Stop};
        let (permanent, transient) = (EnhancedStatus::permanent, EnhancedStatus::transient);
        let (stage, status, about, then) = match self {
            Self::NoSuchName(_) => (Stage::Route, permanent(1, 2), Host, NextHost),
            Self::NullMx(_) => (Stage::Route, permanent(1, 10), Host, Stop),
            Self::NoAddress(_) | Self::AddressRefused(_) => {
                (Stage::Route, permanent(4, 4), Host, NextHost)
            }
            Self::Loop(_) => (Stage::Route, permanent(4, 6), Host, NextHost),
            Self::DnsUnavailable(..) => (Stage::Route, transient(4, 3), Host, NextHost),
            Self::Untried => (Stage::Route, transient(3, 0), Mail, Stop),
            Self::Unreachable(_) => (Stage::Connect, transient(4, 1), Mail, NextHost),
            Self::Lost(stage, risk) | Self::TimedOut(stage, risk) => {
                (*stage, transient(4, 2), Mail, risk.then())
            }
            // The secret would be missing for every other host as well.
            Self::NoSecret(_) => (Stage::Auth, transient(3, 5), Host, Stop),
            Self::Tls(_) => (Stage::Tls, transient(7, 5), Host, NextHost),
            Self::Session(Trouble::NoTls) => (Stage::Tls, transient(7, 4), Host, NextHost),
            Self::Session(Trouble::TlsRefused(reply)) => {
                (Stage::Tls, deferring(reply), Host, NextHost)
            }
            Self::Session(Trouble::NoMechanism { .. } | Trouble::AuthInClear) => {
                (Stage::Auth, transient(7, 4), Host, NextHost)
            }
            Self::Session(Trouble::Challenge(_)) => (Stage::Auth, transient(7, 0), Host, NextHost),
            // If every host rejected the same login, the account could be locked.
            Self::Session(Trouble::AuthRefused(reply)) => {
                let then = if reply.is_permanent() { Stop } else { NextHost };
                (Stage::Auth, deferring(reply), Host, then)
            }
            Self::Session(Trouble::Refused(stage, reply)) => {
                let about = if reply.is_permanent() { Host } else { Mail };
                (*stage, status_of(reply), about, NextHost)
            }
            Self::Session(Trouble::Unexpected(stage, _) | Trouble::Garbled(stage, _)) => {
                (*stage, transient(5, 0), Host, NextHost)
            }
            Self::Answered(Answer::Taken(reply)) => (Stage::Message, status_of(reply), Mail, Stop),
            Self::Answered(Answer::Refused(stage, reply)) => {
                let wants_us_known = ABOUT_CREDENTIALS.contains(&reply.code());
                let about = if wants_us_known { Host } else { Mail };
                (*stage, status_of(reply), about, Stop)
            }
            Self::Answered(Answer::Unsupported(Lack::Utf8)) => {
                (Stage::Mail, permanent(6, 7), Mail, Stop)
            }
            Self::Answered(Answer::Unsupported(Lack::Room { .. })) => {
                (Stage::Mail, permanent(3, 4), Mail, Stop)
            }
            Self::Unreadable(_) => (Stage::Message, transient(3, 0), Mail, Stop),
        };
        Classification {
            stage,
            status,
            about,
            then,
        }
    }
}

impl DuplicateRisk {
    fn then(self) -> Then {
        match self {
            DuplicateRisk::None => Then::NextHost,
            DuplicateRisk::MayBeDelivered => Then::Stop,
        }
    }
}

/// Returns the outcome that a cause has for a recipient.
pub(crate) fn classify(cause: Cause, hop: Hop, peer: Option<Peer>) -> Classified {
    let Classification {
        stage,
        status,
        about,
        ..
    } = cause.classification();
    let alarm = hop == Hop::Smarthost && about == About::Host;
    let status = if alarm {
        status.with_class(Class::Transient)
    } else {
        status
    };
    let outcome = Outcome {
        verdict: verdict_of(status),
        status,
        stage,
        peer,
        detail: cause.detail(),
        reply: cause.into_reply(),
    };
    Classified { outcome, alarm }
}

/// Of the outcomes of two hosts, returns the one that counts. A message fails only if every host
/// rejects it for good.
pub(crate) fn more_hopeful(before: Option<Outcome>, now: Outcome) -> Outcome {
    match before {
        Some(before) if before.verdict == Verdict::Deferred && now.verdict == Verdict::Failed => {
            before
        }
        _ => now,
    }
}

fn verdict_of(status: EnhancedStatus) -> Verdict {
    match status.class() {
        Class::Success => Verdict::Delivered,
        Class::Transient => Verdict::Deferred,
        Class::Permanent => Verdict::Failed,
    }
}

/// The peer's own enhanced status, or a general one for the class of the reply code. A session only
/// passes on replies of these classes; any other one would defer the message.
fn status_of(reply: &Reply) -> EnhancedStatus {
    let own = reply.status();
    own.unwrap_or_else(|| match reply.code() / 100 {
        2 => EnhancedStatus::success(0, 0),
        5 => EnhancedStatus::permanent(0, 0),
        _ => EnhancedStatus::transient(0, 0),
    })
}

/// The status of a reply about the relay itself, which must not fail anybody's mail.
fn deferring(reply: &Reply) -> EnhancedStatus {
    status_of(reply).with_class(Class::Transient)
}

#[cfg(test)]
mod tests {
    use std::io;

    use relay_smtp::sasl::ChallengeError;

    use super::*;
    use crate::secrets::SecretUnavailable;
    use crate::tls::TlsFailure;

    fn reply(code: u16, status: Option<&str>) -> Reply {
        let status = status.map(|s| s.parse().expect("a status"));
        Reply::received(code, status, vec!["words".to_owned()])
    }

    fn said(stage: Stage, code: u16, status: Option<&str>) -> Cause {
        Cause::Answered(Answer::Refused(stage, reply(code, status)))
    }

    fn refused(stage: Stage, code: u16) -> Cause {
        Cause::Session(Trouble::Refused(stage, reply(code, None)))
    }

    fn unexpected() -> Cause {
        Cause::Session(Trouble::Unexpected(Stage::Data, reply(250, None)))
    }

    fn lacks(lack: Lack) -> Cause {
        Cause::Answered(Answer::Unsupported(lack))
    }

    /// A cause, its status for MX delivery, its status for a smarthost, and whether that raises an
    /// alarm.
    type Row = (fn() -> Cause, &'static str, &'static str, bool);

    #[rustfmt::skip]
    const TABLE: &[Row] = &[
        (|| Cause::NoSuchName("d".into()), "5.1.2", "4.1.2", true),
        (|| Cause::NullMx("d".into()), "5.1.10", "4.1.10", true),
        (|| Cause::NoAddress("d".into()), "5.4.4", "4.4.4", true),
        (|| Cause::AddressRefused("d".into()), "5.4.4", "4.4.4", true),
        (|| Cause::Loop("d".into()), "5.4.6", "4.4.6", true),
        (|| Cause::DnsUnavailable("d".into(), "w".into()), "4.4.3", "4.4.3", true),
        (|| Cause::Unreachable(io::ErrorKind::TimedOut), "4.4.1", "4.4.1", false),
        (|| Cause::Lost(Stage::Mail, DuplicateRisk::None), "4.4.2", "4.4.2", false),
        (|| Cause::TimedOut(Stage::Greeting, DuplicateRisk::None), "4.4.2", "4.4.2", false),
        (|| refused(Stage::Greeting, 554), "5.0.0", "4.0.0", true),
        (|| refused(Stage::Greeting, 421), "4.0.0", "4.0.0", false),
        (|| refused(Stage::Hello, 550), "5.0.0", "4.0.0", true),
        (unexpected, "4.5.0", "4.5.0", true),
        (|| said(Stage::Rcpt, 550, Some("5.1.1")), "5.1.1", "5.1.1", false),
        (|| said(Stage::Rcpt, 550, Some("4.1.1")), "5.0.0", "5.0.0", false),
        (|| said(Stage::Rcpt, 450, Some("4.2.0")), "4.2.0", "4.2.0", false),
        (|| said(Stage::Message, 552, None), "5.0.0", "5.0.0", false),
        (|| said(Stage::Mail, 530, Some("5.7.0")), "5.7.0", "4.7.0", true),
        (|| Cause::Answered(Answer::Taken(reply(250, None))), "2.0.0", "2.0.0", false),
        (|| lacks(Lack::Utf8), "5.6.7", "5.6.7", false),
        (|| lacks(Lack::Room { limit: 9 }), "5.3.4", "5.3.4", false),
        (|| Cause::Unreadable(io::ErrorKind::NotFound), "4.3.0", "4.3.0", false),
        (|| said(Stage::Rcpt, 535, Some("5.7.8")), "5.7.8", "4.7.8", true),
        (|| Cause::Session(Trouble::NoTls), "4.7.4", "4.7.4", true),
        (|| Cause::Session(Trouble::TlsRefused(reply(554, None))), "4.0.0", "4.0.0", true),
        (|| Cause::Session(Trouble::TlsRefused(reply(454, Some("4.7.0")))), "4.7.0", "4.7.0", true),
        (|| Cause::Session(Trouble::NoMechanism { offered: "X".into() }), "4.7.4", "4.7.4", true),
        (|| Cause::Session(Trouble::AuthInClear), "4.7.4", "4.7.4", true),
        (|| Cause::Session(Trouble::AuthRefused(reply(535, Some("5.7.8")))), "4.7.8", "4.7.8", true),
        (|| Cause::Session(Trouble::AuthRefused(reply(454, None))), "4.0.0", "4.0.0", true),
        (|| Cause::Session(Trouble::Challenge(ChallengeError::ServerUnproven)), "4.7.0", "4.7.0", true),
        (|| Cause::Tls(TlsFailure::TimedOut), "4.7.5", "4.7.5", true),
        (|| Cause::NoSecret(SecretUnavailable::NoRandomness), "4.3.5", "4.3.5", true),
        (|| Cause::Untried, "4.3.0", "4.3.0", false),
    ];

    #[test]
    fn every_cause_has_its_verdict() {
        for (cause, mx, smarthost, alarm) in TABLE {
            let direct = classify(cause(), Hop::Recipient, None);
            let through = classify(cause(), Hop::Smarthost, None);
            let got = (
                direct.outcome.status.to_string(),
                through.outcome.status.to_string(),
            );
            let what = format!("{:?}", cause());
            assert_eq!(got, ((*mx).to_owned(), (*smarthost).to_owned()), "{what}");
            assert_eq!((direct.alarm, through.alarm), (false, *alarm), "{what}");
            assert_eq!(direct.outcome.verdict, verdict_of(direct.outcome.status));
            assert_eq!(
                direct.outcome.detail.is_empty(),
                matches!(
                    cause(),
                    Cause::Session(
                        Trouble::Refused(..) | Trouble::TlsRefused(_) | Trouble::AuthRefused(_)
                    ) | Cause::Answered(Answer::Taken(_) | Answer::Refused(..))
                )
            );
        }
    }

    #[test]
    fn after_a_possible_delivery_no_other_host_is_tried() {
        for cause in [Cause::Lost, Cause::TimedOut] {
            assert!(cause(Stage::Message, DuplicateRisk::None).tries_next_host());
            let doubtful = cause(Stage::Message, DuplicateRisk::MayBeDelivered);
            assert!(!doubtful.tries_next_host());
            let outcome = classify(doubtful, Hop::Recipient, None).outcome;
            assert_eq!(outcome.verdict, Verdict::Deferred);
            assert!(outcome.detail.contains("duplicate"), "{}", outcome.detail);
        }
    }

    #[test]
    fn a_message_fails_only_if_every_host_rejects_it_for_good() {
        let outcome = |cause| classify(cause, Hop::Recipient, None).outcome;
        let no = || outcome(refused(Stage::Greeting, 554));
        let later = || outcome(Cause::Unreachable(io::ErrorKind::TimedOut));
        assert_eq!(more_hopeful(Some(later()), no()), later());
        assert_eq!(more_hopeful(Some(no()), later()), later());
        assert_eq!(more_hopeful(Some(no()), no()), no());
        assert_eq!(more_hopeful(None, no()), no());
    }
}
