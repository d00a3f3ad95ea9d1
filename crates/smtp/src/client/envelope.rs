//! The envelope of a transaction as commands, and the answers for its recipients.

use crate::address::ReversePath;
use crate::client::extensions::Extensions;
use crate::dsn::{DsnRequest, Notify, Orcpt};
use crate::outcome::Stage;
use crate::recipient::Recipient;
use crate::reply::Reply;

/// The envelope of one transaction.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// MAIL FROM.
    pub sender: &'a ReversePath,
    /// RCPT TO, in order. There must be at least one.
    pub recipients: &'a [&'a Recipient],
    /// Octets of the message, for `SIZE=`.
    pub size: u64,
    /// The message was declared `BODY=8BITMIME`.
    ///
    /// A peer without 8BITMIME gets the message without the declaration. Nothing here can convert
    /// the message, such peers pass eight bits on in practice, and a bounce would help no one.
    pub eight_bit: bool,
    /// The message was declared `SMTPUTF8`: its header may contain UTF-8.
    pub utf8: bool,
    /// `RET` and `ENVID`. Like the parameters of each recipient, they are sent unchanged to a peer
    /// that offers DSN. Nothing is added to them (RFC 3461 §5.2.1).
    pub dsn: &'a DsnRequest,
}

/// An extension or limit that the transaction needs and the peer does not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// SMTPUTF8, for an address or a header beyond ASCII (RFC 6531 §3.2).
    Utf8,
    /// A higher limit: the message has more octets than the peer's SIZE limit (RFC 1870 §6.2).
    Room {
        /// The most octets that the peer accepts.
        limit: u64,
    },
}

/// The result of a transaction for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The peer has taken responsibility for the message.
    Taken(Reply),
    /// The peer refused at this stage with 4xx or 5xx.
    Refused(Stage, Reply),
    /// The recipient was not sent to the peer, because the peer lacks what it needs.
    Unsupported(Lack),
}

/// The commands of one transaction, and how many of them have been sent.
#[derive(Debug)]
pub(super) struct Commands {
    bytes: Vec<u8>,
    ends: std::vec::IntoIter<usize>,
    released: usize,
    pipelined: bool,
}

impl Commands {
    /// Builds the commands: RSET if `reset`, MAIL, RCPT for the recipients in `asked`, and DATA.
    pub(super) fn new(
        envelope: &Envelope<'_>,
        asked: &[usize],
        peer: &Extensions,
        reset: bool,
    ) -> Self {
        let mut bytes = Vec::with_capacity(128 + 64 * asked.len());
        let mut ends = Vec::with_capacity(3 + asked.len());
        let mut line = |parts: &[&[u8]]| {
            for part in parts {
                bytes.extend_from_slice(part);
            }
            bytes.extend_from_slice(b"\r\n");
            ends.push(bytes.len());
        };
        if reset {
            line(&[b"RSET"]);
        }
        let (sender, parameters) = (envelope.sender.as_str(), mail_parameters(envelope, peer));
        line(&[
            b"MAIL FROM:<",
            sender.as_bytes(),
            b">",
            parameters.as_bytes(),
        ]);
        for recipient in asked.iter().filter_map(|&i| envelope.recipients.get(i)) {
            let parameters = rcpt_parameters(recipient, envelope, peer);
            line(&[
                b"RCPT TO:<",
                recipient.path.as_str().as_bytes(),
                b">",
                parameters.as_bytes(),
            ]);
        }
        line(&[b"DATA"]);
        Self {
            bytes,
            ends: ends.into_iter(),
            released: 0,
            pipelined: peer.pipelining,
        }
    }

    /// Returns the octets to send now: all commands for a peer that offers PIPELINING, otherwise
    /// the next one.
    pub(super) fn release(&mut self) -> &[u8] {
        let end = if self.pipelined {
            self.ends.by_ref().last()
        } else {
            self.ends.next()
        };
        let start = self.released;
        self.released = end.unwrap_or(start);
        &self.bytes[start..self.released]
    }

    /// Whether all commands have been sent, so that replies to all of them will come.
    pub(super) fn is_pipelined(&self) -> bool {
        self.pipelined
    }
}

/// The parameters of MAIL, as far as the peer offers them (RFC 1870, RFC 6152, RFC 6531, RFC 3461).
fn mail_parameters(envelope: &Envelope<'_>, peer: &Extensions) -> String {
    let mut text = String::new();
    if peer.size.is_some() {
        text = format!(" SIZE={}", envelope.size);
    }
    if envelope.eight_bit && peer.eight_bit {
        text.push_str(" BODY=8BITMIME");
    }
    if may_be_utf8(envelope, peer) {
        text.push_str(" SMTPUTF8");
    }
    if peer.dsn {
        if let Some(ret) = envelope.dsn.ret {
            text.push_str(" RET=");
            text.push_str(&ret.to_string());
        }
        if let Some(envid) = &envelope.dsn.envid {
            text.push_str(" ENVID=");
            text.push_str(envid.as_str());
        }
    }
    text
}

/// The parameters of RCPT (RFC 3461 §4.1, §4.2).
fn rcpt_parameters(recipient: &Recipient, envelope: &Envelope<'_>, peer: &Extensions) -> String {
    let mut text = String::new();
    if !peer.dsn {
        return text;
    }
    if recipient.notify != Notify::Unspecified {
        text = format!(" NOTIFY={}", recipient.notify);
    }
    if let Some(orcpt) = &recipient.orcpt {
        let orcpt = if may_be_utf8(envelope, peer) {
            orcpt.to_string()
        } else {
            orcpt.to_ascii()
        };
        // The ASCII form has more octets. A peer may refuse a recipient whose parameter is too
        // long.
        if orcpt.len() <= Orcpt::MAX {
            text.push_str(" ORCPT=");
            text.push_str(&orcpt);
        }
    }
    text
}

/// Whether the transaction uses SMTPUTF8.
fn may_be_utf8(envelope: &Envelope<'_>, peer: &Extensions) -> bool {
    peer.utf8 && needs_utf8(envelope)
}

fn needs_utf8(envelope: &Envelope<'_>) -> bool {
    sender_needs_utf8(envelope) || envelope.recipients.iter().any(|r| recipient_needs_utf8(r))
}

fn sender_needs_utf8(envelope: &Envelope<'_>) -> bool {
    envelope.utf8 || !envelope.sender.as_str().is_ascii()
}

fn recipient_needs_utf8(recipient: &Recipient) -> bool {
    !recipient.path.as_str().is_ascii()
}

/// Returns what this recipient needs and the peer does not offer.
pub(super) fn lack(
    envelope: &Envelope<'_>,
    recipient: &Recipient,
    peer: &Extensions,
) -> Option<Lack> {
    if let Some(limit) = peer.refuses_size(envelope.size) {
        return Some(Lack::Room { limit });
    }
    let utf8 = sender_needs_utf8(envelope) || recipient_needs_utf8(recipient);
    (utf8 && !peer.utf8).then_some(Lack::Utf8)
}
