//! Reports of non-delivery (RFC 3464): what a sender is told when a message has failed.
//!
//! Whatever a remote host said or a client wrote in its header is printable ASCII here, so that a
//! report can pass through every relay (no 8BITMIME needed) and no line, field or part can be
//! forged. Only a sender's address beyond ASCII makes a report that needs SMTPUTF8, as it must.

use std::fmt::Write;
use std::time::SystemTime;

use bytes::Bytes;
use relay_queue::{Envelope, Message, NewMessage, Origin, QueueId, Recipient};
use relay_smtp::date::Date;
use relay_smtp::dsn::DsnRequest;
use relay_smtp::{EnhancedStatus, ForwardPath, Mailbox, Outcome, ReversePath, Verdict};

use crate::handle::Config;

/// Octets of the original's header section that go into a report.
pub const MAX_HEADERS: usize = 16 * 1024;
/// Octets of a part behind which no more reasons are given, only addresses: a report for very many
/// recipients stays a mail that can be delivered.
const MAX_REASONS: usize = 64 * 1024;
/// Octets of one reason, and of a line that is quoted: a line ends within 998 (RFC 5322 §2.1.1).
const MAX_REASON: usize = 900;
/// Columns of a line, where it can be folded (RFC 5322 §2.1.1).
const COLUMNS: usize = 78;

/// Who reports to whom.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// Our name.
    pub hostname: String,
    /// Who is told of a bounce that failed itself.
    pub postmaster: Mailbox,
}

/// What is to be reported.
#[derive(Debug)]
pub struct Failure<'a> {
    /// The message that has failed.
    pub message: &'a Message,
    /// For these of its recipients.
    pub recipients: Vec<&'a Recipient>,
    /// How its octets begin; its header section is quoted.
    pub headers: &'a [u8],
}

/// Whom a failure is to be reported to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// The sender.
    Sender(Mailbox),
    /// The postmaster, for it was a bounce that failed.
    Postmaster(Mailbox),
    /// Nobody: there is no sender, and a report of a report makes a loop (RFC 5321 §4.5.5).
    Nobody,
}

impl Reporter {
    /// As the operator has it.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            hostname: config.hostname.clone(),
            postmaster: config.postmaster.clone(),
        }
    }

    /// Whom a failure of `message` is to be reported to.
    pub fn addressee(&self, message: &Message) -> Addressee {
        match (&message.sender, message.origin) {
            (ReversePath::Mailbox(sender), Origin::Client) => Addressee::Sender(sender.clone()),
            (_, Origin::Bounce) => Addressee::Postmaster(self.postmaster.clone()),
            (ReversePath::Null, Origin::Client) | (_, Origin::DoubleBounce) => Addressee::Nobody,
        }
    }

    /// The report on a failure, under a new id. `None` if nobody is to be told.
    pub fn report(&self, id: QueueId, failure: &Failure, now: SystemTime) -> Option<NewMessage> {
        let (to, origin) = match self.addressee(failure.message) {
            Addressee::Sender(to) => (to, Origin::Bounce),
            Addressee::Postmaster(to) => (to, Origin::DoubleBounce),
            Addressee::Nobody => return None,
        };
        let needs_utf8 = to.needs_utf8();
        let text = self.text(id, &to, failure, now);
        Some(NewMessage {
            id,
            origin,
            envelope: Envelope {
                sender: ReversePath::Null,
                recipients: vec![ForwardPath::Mailbox(to).into()],
                eight_bit: needs_utf8,
                utf8: needs_utf8,
                dsn: DsnRequest::default(),
            },
            arrived: now,
            head: Bytes::new(),
            body: text.into(),
        })
    }

    fn text(&self, id: QueueId, to: &Mailbox, failure: &Failure, now: SystemTime) -> String {
        let mut text = self.headers(id, to, failure.message, now);
        part(&mut text, id, "text/plain; charset=us-ascii");
        text += &self.explanation(failure);
        part(&mut text, id, "message/delivery-status");
        text += &self.delivery_status(failure);
        part(&mut text, id, "text/rfc822-headers");
        text += &quoted_headers(failure.headers);
        let _ = write!(text, "\r\n--{}--\r\n", boundary(id));
        text
    }

    fn headers(&self, id: QueueId, to: &Mailbox, message: &Message, now: SystemTime) -> String {
        let host = &self.hostname;
        let subject = match message.origin {
            Origin::Client => "failure notice",
            Origin::Bounce | Origin::DoubleBounce => "failure notice: a bounce failed",
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
            boundary = boundary(id),
        )
    }

    fn explanation(&self, failure: &Failure) -> String {
        let message = failure.message;
        let what = match message.origin {
            Origin::Client => "Your message",
            Origin::Bounce | Origin::DoubleBounce => "A report of a failure, which is message",
        };
        let mut text = format!(
            "This is the mail relay at {}.\r\n\r\n\
             {what} {} could not be delivered to the addresses below.\r\n\
             This is final: it will not be tried again.\r\n",
            self.hostname, message.id
        );
        for (n, recipient) in failure.recipients.iter().enumerate() {
            if text.len() > MAX_REASONS {
                let rest = failure.recipients.len() - n;
                let _ = write!(text, "\r\nThe next part names {rest} more.\r\n");
                break;
            }
            let _ = write!(text, "\r\n<{}>:\r\n", written(&recipient.address));
            if is_expired(recipient) {
                text += "It stayed in the queue for too long. The last attempt:\r\n";
            }
            let reason = recipient.last().map(|(_, o)| o.text());
            fold(&mut text, "    ", &reason.unwrap_or_default());
            let beside = recipient.last().filter(|(_, o)| o.reply.is_some());
            if let Some((_, outcome)) = beside.filter(|(_, o)| !o.detail.is_empty()) {
                fold(&mut text, "    ", &outcome.detail);
            }
        }
        text
    }

    fn delivery_status(&self, failure: &Failure) -> String {
        let message = failure.message;
        let mut text = format!(
            "Reporting-MTA: dns; {}\r\nX-Queue-ID: {}\r\nArrival-Date: {}\r\n",
            self.hostname,
            message.id,
            Date(message.arrived)
        );
        for recipient in &failure.recipients {
            let has_space = text.len() <= MAX_REASONS;
            text += "\r\n";
            recipient_fields(&mut text, recipient, has_space);
        }
        text
    }
}

/// One recipient's fields (RFC 3464 §2.3).
fn recipient_fields(text: &mut String, recipient: &Recipient, has_space: bool) {
    // RFC 6533 §3: an address beyond ASCII has a type of its own.
    let is_ascii = recipient.address.as_str().is_ascii();
    let kind = if is_ascii { "rfc822" } else { "utf-8" };
    let address = written(&recipient.address);
    let status = match recipient.last() {
        _ if is_expired(recipient) => EnhancedStatus::transient(4, 7),
        Some((_, outcome)) => outcome.status,
        None => EnhancedStatus::permanent(0, 0),
    };
    let _ = write!(
        text,
        "Final-Recipient: {kind}; {address}\r\nAction: failed\r\nStatus: {status}\r\n"
    );
    if let Some((at, outcome)) = recipient.last().filter(|_| has_space) {
        diagnosis(text, outcome);
        let _ = write!(text, "Last-Attempt-Date: {}\r\n", Date(*at));
    }
}

fn diagnosis(text: &mut String, outcome: &Outcome) {
    if let Some(peer) = &outcome.peer {
        fold(text, "Remote-MTA: dns; ", &peer.host);
    }
    match &outcome.reply {
        Some(reply) => fold(text, "Diagnostic-Code: smtp; ", &reply.to_string()),
        None => fold(text, "Diagnostic-Code: x-relay; ", &outcome.text()),
    }
}

/// A recipient that failed while its last attempt was only deferred has been given up for its age.
fn is_expired(recipient: &Recipient) -> bool {
    recipient
        .last()
        .is_some_and(|(_, outcome)| outcome.verdict == Verdict::Deferred)
}

/// No line of a part begins with two hyphens, so whatever the boundary is, it is in none of them.
fn boundary(id: QueueId) -> String {
    format!("report-{id}")
}

fn part(text: &mut String, id: QueueId, content_type: &str) {
    let boundary = boundary(id);
    let _ = write!(
        text,
        "\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\r\n"
    );
}

/// `name` and `value` on lines that begin with a blank from the second on, the way of header fields.
fn fold(text: &mut String, name: &str, value: &str) {
    let value: String = value.chars().take(MAX_REASON).map(printable).collect();
    text.push_str(name);
    let mut column = name.len();
    for (n, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
        if n > 0 {
            if column + 1 + word.len() > COLUMNS {
                text.push_str("\r\n    ");
                column = 4;
            } else {
                text.push(' ');
                column += 1;
            }
        }
        text.push_str(word);
        column += word.len();
    }
    text.push_str("\r\n");
}

/// Whole lines of the header section, as far as they fit. A line that begins with two hyphens is
/// left out: no header field does, a boundary does.
fn quoted_headers(message: &[u8]) -> String {
    let mut text = String::new();
    for line in message.split_inclusive(|&c| c == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || text.len() + line.len() + 2 > MAX_HEADERS {
            break;
        }
        if !line.starts_with(b"--") {
            let octets = line.iter().take(MAX_REASON);
            text.extend(octets.map(|&octet| printable(char::from(octet))));
            text.push_str("\r\n");
        }
    }
    text
}

/// Printable ASCII; everything else becomes a question mark.
fn printable(c: char) -> char {
    match c {
        ' '..='~' | '\t' => c,
        _ => '?',
    }
}

/// An address in ASCII: what is beyond becomes `\x{...}` (RFC 6533 §3, `utf-8-addr-xtext`).
fn written(address: &ForwardPath) -> String {
    let address = address.as_str();
    if address.is_ascii() {
        return address.chars().map(printable).collect();
    }
    address.chars().fold(String::new(), |mut text, c| {
        match c {
            '!'..='~' if c != '\\' && c != '+' && c != '=' => text.push(c),
            c => {
                let _ = write!(text, "\\x{{{:02X}}}", u32::from(c));
            }
        }
        text
    })
}
