//! A transaction's envelope as commands, and what came of it.

use crate::address::{ForwardPath, ReversePath};
use crate::client::extensions::Extensions;
use crate::outcome::Stage;
use crate::reply::Reply;

/// What one transaction sends.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// MAIL FROM.
    pub sender: &'a ReversePath,
    /// RCPT TO, in order; there must be one at least.
    pub recipients: &'a [&'a ForwardPath],
    /// Octets of the message, for `SIZE=`.
    pub size: u64,
    /// The message was declared `BODY=8BITMIME`.
    ///
    /// A peer without 8BITMIME is sent it all the same, undeclared: nothing here can convert it,
    /// such peers pass eight bits on in practice, and a bounce would serve nobody.
    pub eight_bit: bool,
    /// The message was declared `SMTPUTF8`: its header may hold UTF-8.
    pub utf8: bool,
}

/// What a transaction needs and the peer does not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// SMTPUTF8, for an address or a header beyond ASCII (RFC 6531 §3.2).
    Utf8,
    /// Room: the message has more octets than the peer's SIZE limit (RFC 1870 §6.2).
    Room {
        /// The most octets that the peer takes.
        limit: u64,
    },
}

/// What a transaction came to for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The peer has taken responsibility.
    Taken(Reply),
    /// The peer refused with 4xx or 5xx at this stage.
    Refused(Stage, Reply),
    /// It was not even asked for: the peer cannot take it.
    Unsupported(Lack),
}

/// The commands of one transaction, and how many of them have been let go.
#[derive(Debug)]
pub(super) struct Commands {
    bytes: Vec<u8>,
    ends: std::vec::IntoIter<usize>,
    released: usize,
    pipelined: bool,
}

impl Commands {
    /// RSET if `reset`, then MAIL, RCPT for those of `asked`, and DATA.
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
        let (sender, parameters) = (envelope.sender.as_str(), parameters(envelope, peer));
        line(&[
            b"MAIL FROM:<",
            sender.as_bytes(),
            b">",
            parameters.as_bytes(),
        ]);
        for recipient in asked.iter().filter_map(|&i| envelope.recipients.get(i)) {
            line(&[b"RCPT TO:<", recipient.as_str().as_bytes(), b">"]);
        }
        line(&[b"DATA"]);
        Self {
            bytes,
            ends: ends.into_iter(),
            released: 0,
            pipelined: peer.pipelining,
        }
    }

    /// What to send now: everything at once to a peer that offers PIPELINING, else the next
    /// command.
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

    /// Whether replies to all commands are on their way, wanted or not.
    pub(super) fn is_pipelined(&self) -> bool {
        self.pipelined
    }
}

/// The parameters of MAIL, each as the peer offers it (RFC 1870, RFC 6152, RFC 6531).
fn parameters(envelope: &Envelope<'_>, peer: &Extensions) -> String {
    let mut text = String::new();
    if peer.size.is_some() {
        text = format!(" SIZE={}", envelope.size);
    }
    if envelope.eight_bit && peer.eight_bit {
        text.push_str(" BODY=8BITMIME");
    }
    if peer.utf8 && needs_utf8(envelope) {
        text.push_str(" SMTPUTF8");
    }
    text
}

fn needs_utf8(envelope: &Envelope<'_>) -> bool {
    sender_needs_utf8(envelope) || envelope.recipients.iter().any(|r| recipient_needs_utf8(r))
}

fn sender_needs_utf8(envelope: &Envelope<'_>) -> bool {
    envelope.utf8 || !envelope.sender.as_str().is_ascii()
}

fn recipient_needs_utf8(recipient: &ForwardPath) -> bool {
    !recipient.as_str().is_ascii()
}

/// What keeps this recipient from even being asked for.
pub(super) fn lack(
    envelope: &Envelope<'_>,
    recipient: &ForwardPath,
    peer: &Extensions,
) -> Option<Lack> {
    if let Some(limit) = peer.refuses_size(envelope.size) {
        return Some(Lack::Room { limit });
    }
    let utf8 = sender_needs_utf8(envelope) || recipient_needs_utf8(recipient);
    (utf8 && !peer.utf8).then_some(Lack::Utf8)
}
