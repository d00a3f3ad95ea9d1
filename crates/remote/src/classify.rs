//! The only place where what happened becomes a verdict.
//!
//! The policy, in short. What the DNS or a host says for certain, and says of the message, fails it.
//! What may be otherwise tomorrow defers it: no answer, no connection, a connection lost, words that
//! are not SMTP, every 4xx. Over a smarthost, which is the operator's own choice, nothing that
//! concerns the host instead of the message ever fails a message: it defers and raises an alarm.

use std::io;

use relay_smtp::client::{Answer, Lack, Trouble};
use relay_smtp::status::Class;
use relay_smtp::{EnhancedStatus, Outcome, Peer, Reply, Stage, Verdict};

/// RFC 4954 §6: the host wants credentials.
const AUTHENTICATION_REQUIRED: u16 = 530;

/// Everything that can decide a recipient's fate.
#[derive(Debug)]
pub(crate) enum Finding {
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
    Lost(Stage, Doubt),
    /// The host did not answer in time at this stage.
    TimedOut(Stage, Doubt),
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
pub(crate) enum Doubt {
    /// It cannot have.
    None,
    /// The final dot had been sent.
    MayBeTaken,
}

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
pub(crate) struct Judgement {
    pub(crate) outcome: Outcome,
    pub(crate) alarm: bool,
}

/// What follows from a finding, before it is asked whose host it was.
struct Ruling {
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

impl Finding {
    /// Whether another host may do better. After a possible delivery nothing else is tried: that
    /// would turn a possible duplicate into a sure one.
    pub(crate) fn is_worth_another_host(&self) -> bool {
        self.ruling().then == Then::NextHost
    }

    fn ruling(&self) -> Ruling {
        use About::{Host, Mail};
        use Then::{NextHost, Stop};
        let (permanent, transient) = (EnhancedStatus::permanent, EnhancedStatus::transient);
        let (stage, status, about, then) = match self {
            Self::NoSuchName(_) => (Stage::Route, permanent(1, 2), Host, NextHost),
            Self::NullMx(_) => (Stage::Route, permanent(1, 10), Host, Stop),
            Self::NoAddress(_) | Self::AddressRefused(_) => {
                (Stage::Route, permanent(4, 4), Host, NextHost)
            }
            Self::Loop(_) => (Stage::Route, permanent(4, 6), Host, Stop),
            Self::DnsUnavailable(..) => (Stage::Route, transient(4, 3), Host, NextHost),
            Self::Untried => (Stage::Route, transient(3, 0), Mail, Stop),
            Self::Unreachable(_) => (Stage::Connect, transient(4, 1), Mail, NextHost),
            Self::Lost(stage, doubt) | Self::TimedOut(stage, doubt) => {
                (*stage, transient(4, 2), Mail, doubt.then())
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
                let wants_us_known = reply.code() == AUTHENTICATION_REQUIRED;
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
        Ruling {
            stage,
            status,
            about,
            then,
        }
    }

    /// Our own words, where no reply says it all.
    fn detail(&self) -> String {
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
            Self::Lost(_, doubt) => format!("lost connection{}", doubt.text()),
            Self::TimedOut(_, doubt) => format!("no reply in time{}", doubt.text()),
            Self::Session(Trouble::Garbled(_, error)) => error.to_string(),
            Self::Session(Trouble::Unexpected(..)) => "a reply that makes no sense here".to_owned(),
            Self::Answered(Answer::Unsupported(Lack::Utf8)) => {
                "the host does not offer SMTPUTF8".to_owned()
            }
            Self::Answered(Answer::Unsupported(Lack::Room { limit })) => {
                format!("the host takes no message of more than {limit} octets")
            }
            Self::Session(Trouble::Refused(..))
            | Self::Answered(Answer::Taken(_) | Answer::Refused(..)) => String::new(),
            Self::Unreadable(kind) => format!("cannot read the message from the queue: {kind}"),
            Self::Untried => "no host was left to try".to_owned(),
        }
    }

    fn into_reply(self) -> Option<Reply> {
        match self {
            Self::Session(Trouble::Refused(_, reply) | Trouble::Unexpected(_, reply))
            | Self::Answered(Answer::Taken(reply) | Answer::Refused(_, reply)) => Some(reply),
            Self::Session(Trouble::Garbled(..))
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

impl Doubt {
    fn then(self) -> Then {
        match self {
            Doubt::None => Then::NextHost,
            Doubt::MayBeTaken => Then::Stop,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Doubt::None => "",
            Doubt::MayBeTaken => {
                " after the whole message was sent: it may have been delivered, so a duplicate is possible"
            }
        }
    }
}

/// What a finding means for a recipient.
pub(crate) fn judge(finding: Finding, hop: Hop, peer: Option<Peer>) -> Judgement {
    let Ruling {
        stage,
        status,
        about,
        ..
    } = finding.ruling();
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
        detail: finding.detail(),
        reply: finding.into_reply(),
    };
    Judgement { outcome, alarm }
}

/// Of the outcomes of two hosts, the one that stands for both: only if no host leaves hope does the
/// message fail.
pub(crate) fn worse_hope(before: Option<Outcome>, now: Outcome) -> Outcome {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, status: Option<&str>) -> Reply {
        let status = status.map(|s| s.parse().expect("a status"));
        Reply::received(code, status, vec!["words".to_owned()])
    }

    fn said(stage: Stage, code: u16, status: Option<&str>) -> Finding {
        Finding::Answered(Answer::Refused(stage, reply(code, status)))
    }

    fn refused(stage: Stage, code: u16) -> Finding {
        Finding::Session(Trouble::Refused(stage, reply(code, None)))
    }

    fn unexpected() -> Finding {
        Finding::Session(Trouble::Unexpected(Stage::Data, reply(250, None)))
    }

    fn lacks(lack: Lack) -> Finding {
        Finding::Answered(Answer::Unsupported(lack))
    }

    /// A finding, its status by way of MX, and by way of a smarthost with or without alarm.
    type Row = (fn() -> Finding, &'static str, &'static str, bool);

    #[rustfmt::skip]
    const TABLE: &[Row] = &[
        (|| Finding::NoSuchName("d".into()), "5.1.2", "4.1.2", true),
        (|| Finding::NullMx("d".into()), "5.1.10", "4.1.10", true),
        (|| Finding::NoAddress("d".into()), "5.4.4", "4.4.4", true),
        (|| Finding::AddressRefused("d".into()), "5.4.4", "4.4.4", true),
        (|| Finding::Loop("d".into()), "5.4.6", "4.4.6", true),
        (|| Finding::DnsUnavailable("d".into(), "w".into()), "4.4.3", "4.4.3", true),
        (|| Finding::Unreachable(io::ErrorKind::TimedOut), "4.4.1", "4.4.1", false),
        (|| Finding::Lost(Stage::Mail, Doubt::None), "4.4.2", "4.4.2", false),
        (|| Finding::TimedOut(Stage::Greeting, Doubt::None), "4.4.2", "4.4.2", false),
        (|| refused(Stage::Greeting, 554), "5.0.0", "4.0.0", true),
        (|| refused(Stage::Greeting, 421), "4.0.0", "4.0.0", false),
        (|| refused(Stage::Hello, 550), "5.0.0", "4.0.0", true),
        (unexpected, "4.5.0", "4.5.0", true),
        (|| said(Stage::Rcpt, 550, Some("5.1.1")), "5.1.1", "5.1.1", false),
        (|| said(Stage::Rcpt, 550, Some("4.1.1")), "5.0.0", "5.0.0", false),
        (|| said(Stage::Rcpt, 450, Some("4.2.0")), "4.2.0", "4.2.0", false),
        (|| said(Stage::Message, 552, None), "5.0.0", "5.0.0", false),
        (|| said(Stage::Mail, 530, Some("5.7.0")), "5.7.0", "4.7.0", true),
        (|| Finding::Answered(Answer::Taken(reply(250, None))), "2.0.0", "2.0.0", false),
        (|| lacks(Lack::Utf8), "5.6.7", "5.6.7", false),
        (|| lacks(Lack::Room { limit: 9 }), "5.3.4", "5.3.4", false),
        (|| Finding::Unreadable(io::ErrorKind::NotFound), "4.3.0", "4.3.0", false),
        (|| Finding::Untried, "4.3.0", "4.3.0", false),
    ];

    #[test]
    fn every_finding_has_its_verdict() {
        for (finding, mx, smarthost, alarm) in TABLE {
            let direct = judge(finding(), Hop::Recipient, None);
            let through = judge(finding(), Hop::Smarthost, None);
            let got = (
                direct.outcome.status.to_string(),
                through.outcome.status.to_string(),
            );
            let what = format!("{:?}", finding());
            assert_eq!(got, ((*mx).to_owned(), (*smarthost).to_owned()), "{what}");
            assert_eq!((direct.alarm, through.alarm), (false, *alarm), "{what}");
            assert_eq!(direct.outcome.verdict, verdict_of(direct.outcome.status));
            assert_eq!(
                direct.outcome.detail.is_empty(),
                matches!(
                    finding(),
                    Finding::Session(Trouble::Refused(..))
                        | Finding::Answered(Answer::Taken(_) | Answer::Refused(..))
                )
            );
        }
    }

    #[test]
    fn after_a_possible_delivery_no_other_host_is_tried() {
        for finding in [Finding::Lost, Finding::TimedOut] {
            assert!(finding(Stage::Message, Doubt::None).is_worth_another_host());
            let doubtful = finding(Stage::Message, Doubt::MayBeTaken);
            assert!(!doubtful.is_worth_another_host());
            let outcome = judge(doubtful, Hop::Recipient, None).outcome;
            assert_eq!(outcome.verdict, Verdict::Deferred);
            assert!(outcome.detail.contains("duplicate"), "{}", outcome.detail);
        }
    }

    #[test]
    fn a_message_fails_only_if_no_host_leaves_hope() {
        let outcome = |finding| judge(finding, Hop::Recipient, None).outcome;
        let no = || outcome(refused(Stage::Greeting, 554));
        let later = || outcome(Finding::Unreachable(io::ErrorKind::TimedOut));
        assert_eq!(worse_hope(Some(later()), no()), later());
        assert_eq!(worse_hope(Some(no()), later()), later());
        assert_eq!(worse_hope(Some(no()), no()), no());
        assert_eq!(worse_hope(None, no()), no());
    }
}
