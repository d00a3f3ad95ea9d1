//! Reports (RFC 3464) to the sender of a message that has failed, is delayed, or was accepted by a
//! host that makes no reports.
//!
//! Text from remote hosts and from header fields of clients is reduced to printable ASCII, so that
//! it cannot forge a line, field or part. Octets beyond ASCII are only in an original that is
//! returned whole, and in the addresses and header fields of an internationalized message (RFC
//! 6533).
//!
//! The text is written by hand: MIME libraries know neither the fields of RFC 3464 nor the address
//! forms of RFC 6533, and would choose encodings and folds themselves.

mod foreign_text;
mod original;
mod status;

use std::fmt::Write;
use std::time::SystemTime;

use relay_message::{Envelope, Message, NewMessage, Origin, QueueId, QueuedRecipient};
use relay_smtp::date::Date;
use relay_smtp::dsn::{DsnRequest, Ret};
use relay_smtp::{ForwardPath, Mailbox, Outcome, ReversePath, Verdict};

use self::foreign_text::{Charset, fold};
use self::original::Part;
pub use self::original::{MAX_HEADERS, MAX_WHOLE, Original};
use crate::config::Config;

/// Once a part is this long, in octets, only the addresses of further recipients follow, without
/// reasons. A report on very many recipients can thus still be delivered.
const MAX_REASONS: usize = 64 * 1024;

/// The sender of reports.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// The name of this relay.
    pub hostname: String,
    /// Receives reports of bounces that failed.
    pub postmaster: Mailbox,
}

/// The contents of a report.
#[derive(Debug)]
pub struct Notice<'a> {
    /// The message it is about.
    pub message: &'a Message,
    /// What has happened to the recipients.
    pub kind: ReportKind,
    /// The recipients that it is about.
    pub recipients: Vec<&'a QueuedRecipient>,
    /// Why the destination is in back-off, for recipients that have not been tried.
    pub trouble: Option<&'a Outcome>,
    /// The part of the message that is returned.
    pub original: Original<'a>,
}

/// The kind of a report: what has happened to its recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// Delivery has failed and is not tried again.
    Failed,
    /// The message has not been delivered yet.
    Delayed {
        /// When delivery will be given up.
        until: SystemTime,
    },
    /// A host that makes no reports has accepted the message (RFC 3461 §5.2.2).
    Relayed,
}

impl ReportKind {
    /// Returns the value of the field `Action` (RFC 3464 §2.3.3).
    fn action(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed { .. } => "delayed",
            Self::Relayed => "relayed",
        }
    }
}

/// The addressee of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// The sender.
    Sender(Mailbox),
    /// The postmaster, because a bounce failed.
    Postmaster(Mailbox),
    /// Nobody: there is no sender, or a report on a report would loop (RFC 5321 §4.5.5).
    Nobody,
}

impl Reporter {
    /// Returns the reporter for a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            hostname: config.hostname.clone(),
            postmaster: config.postmaster.clone(),
        }
    }

    /// Returns the addressee of a failure report about `message`.
    pub fn addressee(&self, message: &Message) -> Addressee {
        match (&message.sender, message.origin) {
            (ReversePath::Mailbox(sender), Origin::Client) => Addressee::Sender(sender.clone()),
            (_, Origin::Bounce) => Addressee::Postmaster(self.postmaster.clone()),
            (ReversePath::Null, Origin::Client) | (_, Origin::DoubleBounce) => Addressee::Nobody,
        }
    }

    /// Whether a report of this kind about `message` has an addressee.
    pub(crate) fn has_addressee(&self, message: &Message, kind: ReportKind) -> bool {
        match self.addressee(message) {
            Addressee::Sender(_) => true,
            Addressee::Postmaster(_) => kind == ReportKind::Failed,
            Addressee::Nobody => false,
        }
    }

    /// Returns the report with the id `id`, or `None` if it has no addressee. The postmaster
    /// receives failure reports only.
    pub fn report(&self, id: QueueId, notice: &Notice, now: SystemTime) -> Option<NewMessage> {
        let (to, origin) = match self.addressee(notice.message) {
            Addressee::Sender(to) => (to, Origin::Bounce),
            Addressee::Postmaster(to) if notice.kind == ReportKind::Failed => {
                (to, Origin::DoubleBounce)
            }
            Addressee::Postmaster(_) | Addressee::Nobody => return None,
        };
        let utf8 = to.needs_utf8();
        let body = self.text(id, &to, notice, now);
        Some(NewMessage {
            id,
            origin,
            envelope: Envelope {
                sender: ReversePath::Null,
                eight_bit: utf8 || !body.is_ascii(),
                recipients: vec![ForwardPath::Mailbox(to).into()],
                utf8,
                dsn: DsnRequest::default(),
            },
            arrived: now,
            head: bytes::Bytes::new(),
            body: body.into(),
        })
    }

    fn text(&self, id: QueueId, to: &Mailbox, notice: &Notice, now: SystemTime) -> Vec<u8> {
        let charset = charset(to, notice);
        let (plain, status) = match charset {
            Charset::Ascii => ("text/plain; charset=us-ascii", "message/delivery-status"),
            Charset::Utf8 => (
                "text/plain; charset=utf-8",
                "message/global-delivery-status",
            ),
        };
        let parts: [Part; 3] = [
            (plain, self.explanation(notice, charset).into()),
            (
                status,
                status::status_part(&self.hostname, notice, charset).into(),
            ),
            notice.original.part(charset),
        ];
        let boundary = boundary(id, &parts);
        let mut text = self.headers(id, to, notice, now, &boundary).into_bytes();
        for (content_type, octets) in &parts {
            let encoding = if octets.is_ascii() { "7bit" } else { "8bit" };
            let start = format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\
                 Content-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            text.extend_from_slice(start.as_bytes());
            text.extend_from_slice(octets);
        }
        text.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        text
    }

    fn headers(
        &self,
        id: QueueId,
        to: &Mailbox,
        notice: &Notice,
        now: SystemTime,
        boundary: &str,
    ) -> String {
        let host = &self.hostname;
        let subject = match (notice.kind, notice.message.origin) {
            (ReportKind::Failed, Origin::Client) => "failure notice",
            (ReportKind::Failed, _) => "failure notice: a bounce failed",
            (ReportKind::Delayed { .. }, _) => "delay notice: your message is still being tried",
            (ReportKind::Relayed, _) => "relay notice: your message has been passed on",
        };
        format!(
            "From: Mail Delivery System <MAILER-DAEMON@{host}>\r\n\
             To: <{to}>\r\n\
             Subject: {subject}\r\n\
             Date: {date}\r\n\
             Message-ID: <{id}@{host}>\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\
             \tboundary=\"{boundary}\"\r\n",
            date = Date(now),
        )
    }

    fn explanation(&self, notice: &Notice, charset: Charset) -> String {
        let mut text = format!(
            "This is the mail relay at {}.\r\n\r\n{}",
            self.hostname,
            introduction(notice)
        );
        for (n, recipient) in notice.recipients.iter().enumerate() {
            if text.len() > MAX_REASONS {
                let rest = notice.recipients.len() - n;
                let _ = write!(text, "\r\nFurther addresses in the next part: {rest}.\r\n");
                break;
            }
            reason(&mut text, recipient, notice, charset);
        }
        text
    }
}

fn introduction(notice: &Notice) -> String {
    let id = notice.message.id;
    let subject = match notice.message.origin {
        Origin::Client => format!("Your message {id}"),
        Origin::Bounce | Origin::DoubleBounce => format!("Message {id}, a failure report,"),
    };
    match notice.kind {
        ReportKind::Failed => format!(
            "{subject} could not be delivered to the addresses below.\r\n\
             This is final: it will not be tried again.\r\n"
        ),
        ReportKind::Delayed { until } => format!(
            "{subject} has not been delivered to the addresses below yet.\r\n\
             It will be tried until {}.\r\nYou need not send it again.\r\n",
            Date(until)
        ),
        ReportKind::Relayed => format!(
            "{subject} has been handed to the mail server of the addresses below,\r\n\
             which does not report deliveries itself.\r\n"
        ),
    }
}

fn reason(text: &mut String, recipient: &QueuedRecipient, notice: &Notice, charset: Charset) {
    let address = foreign_text::address(recipient.to.path.as_str(), charset);
    let _ = write!(text, "\r\n<{address}>:\r\n");
    if notice.kind == ReportKind::Failed && is_expired(recipient) {
        text.push_str("It stayed in the queue for too long. The last attempt:\r\n");
    }
    let Some((_, outcome)) = status::last(recipient, notice) else {
        return;
    };
    fold(text, "    ", &outcome.text());
    if outcome.reply.is_some() && !outcome.detail.is_empty() {
        fold(text, "    ", &outcome.detail);
    }
}

/// UTF-8 if the addressee or an address in the report has characters beyond ASCII.
fn charset(to: &Mailbox, notice: &Notice) -> Charset {
    let needs_utf8 = notice.recipients.iter().any(|recipient| {
        let orcpt = recipient.to.orcpt.as_ref();
        !recipient.to.path.as_str().is_ascii() || orcpt.is_some_and(|o| !o.address().is_ascii())
    });
    if to.needs_utf8() || needs_utf8 {
        Charset::Utf8
    } else {
        Charset::Ascii
    }
}

/// Whether a report returns the whole message. It returns only the header section if the sender
/// asked for that, and for recipients that have not failed (RFC 3461 §4.3).
pub(crate) fn wants_whole(message: &Message, kind: ReportKind) -> bool {
    let is_small = message.size <= MAX_WHOLE as u64;
    kind == ReportKind::Failed && is_small && message.dsn.ret != Some(Ret::Headers)
}

/// Whether a recipient was given up for its age: it has failed, but its last attempt was only
/// deferred.
fn is_expired(recipient: &QueuedRecipient) -> bool {
    let last = recipient.last().map(|(_, outcome)| outcome.verdict);
    last == Some(Verdict::Deferred)
}

/// Returns a boundary that occurs in no part.
fn boundary(id: QueueId, parts: &[Part]) -> String {
    let mut boundary = format!("report-{id}");
    let mut n = 0_u32;
    while parts
        .iter()
        .any(|(_, octets)| has_delimiter(octets, &boundary))
    {
        n += 1;
        boundary = format!("report-{id}-{n}.");
    }
    boundary
}

fn has_delimiter(octets: &[u8], boundary: &str) -> bool {
    memchr::memmem::find(octets, format!("--{boundary}").as_bytes()).is_some()
}
