//! The only place where what happened becomes a verdict.
//!
//! The policy, in short. What the DNS or a host says for certain, and says of the message, fails it.
//! What may be otherwise tomorrow defers it: no answer, no connection, a connection lost, words that
//! are not SMTP, every 4xx, TLS or AUTH that is wanted and cannot be had. Over a smarthost, which is
//! the operator's own choice, nothing that concerns the host instead of the message ever fails a
//! message: it defers and raises an alarm.

mod cause;

use relay_smtp::client::{Answer, Lack, Trouble};
use relay_smtp::status::Class;
use relay_smtp::{EnhancedStatus, Outcome, Peer, Reply, Stage, Verdict};

pub(crate) use self::cause::{Cause, DuplicateRisk};

/// RFC 4954 §6: the host wants credentials, better ones, or others, whatever the command.
const ABOUT_CREDENTIALS: [u16; 4] = [530, 534, 535, 538];

/// Whose choice the host was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hop {
    /// The recipient's domain's.
    Recipient,
    /// The operator's.
    Smarthost,
}

/// An outcome, and whether the operator must look after the smarthost.
#[derive(Debug)]
pub(crate) struct Classified {
    pub(crate) outcome: Outcome,
    pub(crate) alarm: bool,
}

/// What follows from a finding, before it is asked whose host it was.
struct Classification {
    stage: Stage,
    status: EnhancedStatus,
    about: About,
    then: Then,
}

/// What a finding speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The host as such: over a smarthost the operator must look after it.
    Host,
    /// The message, the recipient, or the weather.
    Mail,
}

/// Whether another host may do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    NextHost,
    Stop,
}

impl Cause {
    /// Whether another host may do better. After a possible delivery nothing else is tried: that
    /// would turn a possible duplicate into a sure one.
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
            // No other host would be shown anything else.
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
            // To be refused by every host in turn locks an account sooner.
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

/// What a finding means for a recipient.
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

/// Of the outcomes of two hosts, the one that stands for both: only if no host leaves hope does the
/// message fail.
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

/// The peer's own status, else the one that says no more than its code. A session never hands on
/// another code as an answer; if it did, the message would be tried again.
fn status_of(reply: &Reply) -> EnhancedStatus {
    let own = reply.status();
    own.unwrap_or_else(|| match reply.code() / 100 {
        2 => EnhancedStatus::success(0, 0),
        5 => EnhancedStatus::permanent(0, 0),
        _ => EnhancedStatus::transient(0, 0),
    })
}

/// A reply about us that must not cost anybody's mail.
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

    /// A finding, its status by way of MX, and by way of a smarthost with or without alarm.
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
    fn every_finding_has_its_verdict() {
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
    fn a_message_fails_only_if_no_host_leaves_hope() {
        let outcome = |cause| classify(cause, Hop::Recipient, None).outcome;
        let no = || outcome(refused(Stage::Greeting, 554));
        let later = || outcome(Cause::Unreachable(io::ErrorKind::TimedOut));
        assert_eq!(more_hopeful(Some(later()), no()), later());
        assert_eq!(more_hopeful(Some(no()), later()), later());
        assert_eq!(more_hopeful(Some(no()), no()), no());
        assert_eq!(more_hopeful(None, no()), no());
    }
}
