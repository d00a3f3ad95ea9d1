//! The part of a report that programs read (RFC 3464, RFC 6533).

use std::fmt::Write;
use std::time::SystemTime;

use relay_message::{Message, QueuedRecipient};
use relay_smtp::date::Date;
use relay_smtp::dsn::Orcpt;
use relay_smtp::{EnhancedStatus, Outcome};

use super::foreign_text::{self, Charset, fold};
use super::{MAX_REASONS, Notice, ReportKind, is_expired};

/// Returns the whole part.
pub(super) fn status_part(hostname: &str, notice: &Notice, charset: Charset) -> String {
    let mut text = message_fields(hostname, notice.message);
    for recipient in &notice.recipients {
        let has_space = text.len() <= MAX_REASONS;
        text += "\r\n";
        recipient_fields(&mut text, recipient, notice, charset);
        if has_space {
            diagnosis(&mut text, recipient, notice);
        }
    }
    text
}

/// Returns the fields about the message (RFC 3464 §2.2).
fn message_fields(hostname: &str, message: &Message) -> String {
    let mut text = String::new();
    if let Some(envid) = &message.dsn.envid {
        // Not folded: each space in it belongs to the sender's value, which has at most 100 octets.
        let envid: String = envid
            .decoded()
            .chars()
            .map(foreign_text::printable)
            .collect();
        let _ = write!(text, "Original-Envelope-Id: {envid}\r\n");
    }
    let _ = write!(
        text,
        "Reporting-MTA: dns; {hostname}\r\nX-Queue-ID: {}\r\nArrival-Date: {}\r\n",
        message.id,
        Date(message.arrived)
    );
    text
}

/// Adds the fields about a recipient (RFC 3464 §2.3), except those of its last attempt.
fn recipient_fields(
    text: &mut String,
    recipient: &QueuedRecipient,
    notice: &Notice,
    charset: Charset,
) {
    if let Some(orcpt) = &recipient.to.orcpt {
        let _ = write!(
            text,
            "Original-Recipient: {}\r\n",
            original_recipient(orcpt, charset)
        );
    }
    let address = recipient.to.path.as_str();
    let kind = foreign_text::address_type(address);
    let address = foreign_text::address(address, charset);
    let action = notice.kind.action();
    let status = status(recipient, notice);
    let _ = write!(
        text,
        "Final-Recipient: {kind}; {address}\r\nAction: {action}\r\nStatus: {status}\r\n"
    );
}

fn original_recipient(orcpt: &Orcpt, charset: Charset) -> String {
    let kind = orcpt.address_type();
    let address = foreign_text::typed_address(kind, &orcpt.address(), charset);
    format!("{kind};{address}")
}

fn status(recipient: &QueuedRecipient, notice: &Notice) -> EnhancedStatus {
    let last = last(recipient, notice).map(|(_, outcome)| outcome.status);
    match notice.kind {
        ReportKind::Failed if is_expired(recipient) => EnhancedStatus::transient(4, 7),
        ReportKind::Failed => last.unwrap_or(EnhancedStatus::permanent(0, 0)),
        ReportKind::Delayed { .. } => last.unwrap_or(EnhancedStatus::transient(0, 0)),
        ReportKind::Relayed => last.unwrap_or(EnhancedStatus::success(0, 0)),
    }
}

/// Returns the outcome of the last attempt with its time, or the trouble of the destination if
/// there was no attempt.
pub(super) fn last<'a>(
    recipient: &'a QueuedRecipient,
    notice: &'a Notice,
) -> Option<(Option<SystemTime>, &'a Outcome)> {
    let own = recipient.last().map(|(at, outcome)| (Some(*at), outcome));
    own.or_else(|| Some((None, notice.trouble?)))
}

fn diagnosis(text: &mut String, recipient: &QueuedRecipient, notice: &Notice) {
    if let Some((at, outcome)) = last(recipient, notice) {
        if let Some(peer) = &outcome.peer {
            fold(text, "Remote-MTA: dns; ", &peer.host);
        }
        match &outcome.reply {
            Some(reply) => fold(text, "Diagnostic-Code: smtp; ", &reply.to_string()),
            None => fold(text, "Diagnostic-Code: x-relay; ", &outcome.text()),
        }
        if let Some(at) = at {
            let _ = write!(text, "Last-Attempt-Date: {}\r\n", Date(at));
        }
    }
    if let ReportKind::Delayed { until } = notice.kind {
        let _ = write!(text, "Will-Retry-Until: {}\r\n", Date(until));
    }
}
