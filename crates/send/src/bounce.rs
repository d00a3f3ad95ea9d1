//! Reports of non-delivery (RFC 3464): what a sender is told when a message has failed.

use std::fmt::Write;
use std::time::SystemTime;

use bytes::Bytes;
use relay_queue::{Envelope, Message, NewMessage, Origin, QueueId, Recipient};
use relay_smtp::date::Date;
use relay_smtp::{EnhancedStatus, ForwardPath, Mailbox, Outcome, ReversePath, Verdict};

/// Octets of the original's header section that go into a report.
pub const MAX_HEADERS: usize = 16 * 1024;
/// Octets of a line that we write (RFC 5322 §2.1.1), less what folding needs.
const MAX_LINE: usize = 900;

/// Who reports to whom.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// Our name.
    pub hostname: String,
    /// Who is told of a bounce that failed itself.
    pub postmaster: Mailbox,
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
    /// Whom a failure of `message` is to be reported to.
    pub fn addressee(&self, message: &Message) -> Addressee {
        match (&message.sender, message.origin) {
            (ReversePath::Mailbox(sender), Origin::Client) => Addressee::Sender(sender.clone()),
            (_, Origin::Bounce) => Addressee::Postmaster(self.postmaster.clone()),
            (ReversePath::Null, Origin::Client) | (_, Origin::DoubleBounce) => Addressee::Nobody,
        }
    }

    /// The report on `failed` recipients of `message`, whose header section begins `headers`.
    /// `None` if nobody is to be told.
    pub fn report(
        &self,
        id: QueueId,
        message: &Message,
        failed: &[&Recipient],
        headers: &[u8],
        now: SystemTime,
    ) -> Option<NewMessage> {
        let (to, origin) = match self.addressee(message) {
            Addressee::Sender(to) => (to, Origin::Bounce),
            Addressee::Postmaster(to) => (to, Origin::DoubleBounce),
            Addressee::Nobody => return None,
        };
        let text = self.text(id, &to, message, failed, headers, now);
        let eight_bit = !text.is_ascii();
        Some(NewMessage {
            id,
            origin,
            envelope: Envelope {
                sender: ReversePath::Null,
                utf8: to.needs_utf8(),
                recipients: vec![ForwardPath::Mailbox(to)],
                eight_bit,
            },
            arrived: now,
            head: Bytes::new(),
            body: text.into(),
        })
    }

    fn text(
        &self,
        id: QueueId,
        to: &Mailbox,
        message: &Message,
        failed: &[&Recipient],
        headers: &[u8],
        now: SystemTime,
    ) -> Vec<u8> {
        let boundary = format!("report-{id}");
        let mut text = self.headers(id, to, message, &boundary, now);
        part(&mut text, &boundary, "text/plain; charset=utf-8");
        text += &self.explanation(message, failed);
        part(&mut text, &boundary, "message/delivery-status");
        text += &self.delivery_status(message, failed);
        part(&mut text, &boundary, "text/rfc822-headers; charset=utf-8");
        let mut bytes = text.into_bytes();
        append_headers(&mut bytes, headers);
        bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        bytes
    }

    fn headers(
        &self,
        id: QueueId,
        to: &Mailbox,
        message: &Message,
        boundary: &str,
        now: SystemTime,
    ) -> String {
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
        )
    }

    fn explanation(&self, message: &Message, failed: &[&Recipient]) -> String {
        let mut text = format!(
            "This is the mail relay at {}.\r\n\r\n\
             Your message {} could not be delivered to the addresses below.\r\n\
             This is final: it will not be tried again.\r\n",
            self.hostname, message.id
        );
        for recipient in failed {
            let reason = recipient
                .last
                .as_ref()
                .map(|(_, o)| o.text())
                .unwrap_or_default();
            let given_up = if is_expired(recipient) {
                "It stayed in the queue for too long. The last attempt:\r\n"
            } else {
                ""
            };
            let reason = shorten(&reason, MAX_LINE);
            let _ = write!(text, "\r\n{}:\r\n{given_up}{reason}\r\n", recipient.address);
        }
        text
    }

    fn delivery_status(&self, message: &Message, failed: &[&Recipient]) -> String {
        let mut text = format!(
            "Reporting-MTA: dns; {}\r\nX-Queue-ID: {}\r\nArrival-Date: {}\r\n",
            self.hostname,
            message.id,
            Date(message.arrived)
        );
        for recipient in failed {
            text += "\r\n";
            text += &recipient_fields(recipient);
        }
        text
    }
}

/// One recipient's fields (RFC 3464 §2.3).
fn recipient_fields(recipient: &Recipient) -> String {
    let mut fields = String::new();
    let address = recipient.address.as_str();
    // RFC 6533 §3: an address beyond ASCII has a type of its own, written in ASCII here.
    if address.is_ascii() {
        let _ = write!(fields, "Final-Recipient: rfc822; {address}\r\n");
    } else {
        let _ = write!(
            fields,
            "Final-Recipient: utf-8; {}\r\n",
            utf8_addr_xtext(address)
        );
    }
    fields += "Action: failed\r\n";
    let status = match &recipient.last {
        _ if is_expired(recipient) => EnhancedStatus::transient(4, 7),
        Some((_, outcome)) => outcome.status,
        None => EnhancedStatus::permanent(0, 0),
    };
    let _ = write!(fields, "Status: {status}\r\n");
    if let Some((at, outcome)) = &recipient.last {
        fields += &diagnosis(outcome);
        let _ = write!(fields, "Last-Attempt-Date: {}\r\n", Date(*at));
    }
    fields
}

fn diagnosis(outcome: &Outcome) -> String {
    let mut fields = String::new();
    if let Some(peer) = &outcome.peer {
        let _ = write!(fields, "Remote-MTA: dns; {}\r\n", ascii(&peer.host));
    }
    let diagnostic = match &outcome.reply {
        Some(reply) => format!("smtp; {}", ascii(&reply.to_string())),
        None => format!("x-relay; {}", ascii(&outcome.text())),
    };
    let _ = write!(
        fields,
        "Diagnostic-Code: {}\r\n",
        shorten(&diagnostic, MAX_LINE)
    );
    fields
}

/// A recipient that failed while its last attempt was only deferred has been given up for its age.
fn is_expired(recipient: &Recipient) -> bool {
    recipient
        .last
        .as_ref()
        .is_some_and(|(_, outcome)| outcome.verdict == Verdict::Deferred)
}

fn part(text: &mut String, boundary: &str, content_type: &str) {
    let _ = write!(
        text,
        "\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\r\n"
    );
}

/// The header section, whole lines of it only, and nothing that could be taken for a boundary: no
/// header field begins with a hyphen.
fn append_headers(text: &mut Vec<u8>, message: &[u8]) {
    let end = memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 2);
    let mut taken = 0;
    for line in message[..end].split_inclusive(|&c| c == b'\n') {
        taken += line.len();
        if taken > MAX_HEADERS || !line.ends_with(b"\r\n") {
            break;
        }
        if !line.starts_with(b"--") {
            text.extend_from_slice(line);
        }
    }
}

/// Printable ASCII; everything else becomes a question mark.
fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect()
}

/// RFC 6533 §3, `utf-8-addr-xtext`: `\x{...}` for what is not ASCII.
fn utf8_addr_xtext(address: &str) -> String {
    address.chars().fold(String::new(), |mut text, c| {
        match c {
            '!'..='~' if c != '\\' && c != '+' && c != '=' => text.push(c),
            c => {
                let _ = write!(text, "\\x{{{:X}}}", u32::from(c));
            }
        }
        text
    })
}

fn shorten(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
