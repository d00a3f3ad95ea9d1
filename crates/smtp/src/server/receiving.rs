//! The message itself, as it comes in behind DATA.

use crate::address::Mailbox;
use crate::body::{BodyDecoder, Violation};
use crate::reply::Reply;

use super::event::Transaction;
use super::replies;
use super::settings::Limits;
use crate::header::{HeaderFault, HeaderScan};

/// A message on its way in. Once something is wrong with it, the rest is swallowed up to its true
/// end, for only there may the reply be given (RFC 5321 §3.3).
#[derive(Debug)]
pub(super) struct Receiving {
    transaction: Transaction,
    decoder: BodyDecoder,
    header: HeaderScan,
    room: u64,
    refusal: Option<Reply>,
}

/// What became of a piece of input.
#[derive(Debug)]
pub(super) struct Received {
    /// Octets of input taken.
    pub(super) consumed: usize,
    /// Whether the message has come to its end.
    pub(super) ended: bool,
    /// What was found wrong in this very piece.
    pub(super) refusal: Option<Reply>,
}

impl Receiving {
    pub(super) fn new(transaction: Transaction, limits: &Limits) -> Self {
        Self {
            transaction,
            decoder: BodyDecoder::new(limits.bare_newline, limits.line_length),
            header: HeaderScan::new(limits.header_size, limits.hops),
            room: limits.message_size,
            refusal: None,
        }
    }

    /// Decodes a piece of input; what it says is appended to `message`, or nothing once refused.
    pub(super) fn take(&mut self, input: &[u8], message: &mut Vec<u8>) -> Received {
        let before = message.len();
        let decoded = self.decoder.decode(input, message);
        let refusal = match self.refusal {
            Some(_) => None,
            None => self.inspect(&message[before..]),
        };
        if let Some(reply) = &refusal {
            self.refuse(reply.clone());
        }
        if self.refusal.is_some() {
            message.clear();
        }
        Received {
            consumed: decoded.consumed,
            ended: decoded.ended,
            refusal,
        }
    }

    /// Looks at new octets in the order of their faults, so that the first fault in the message
    /// decides and not the first one in a piece of it.
    fn inspect(&mut self, octets: &[u8]) -> Option<Reply> {
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let within = &octets[..octets.len().min(room)];
        self.header.feed(within);
        self.room -= within.len() as u64;
        if let Some(fault) = self.header.fault() {
            return Some(match fault {
                HeaderFault::TooBig => replies::header_too_big(),
                HeaderFault::TooManyHops => replies::too_many_hops(),
            });
        }
        if within.len() < octets.len() {
            return Some(replies::too_big());
        }
        self.decoder.violation().map(|violation| match violation {
            Violation::BareNewline => replies::bare_newline(),
            Violation::Nul => replies::nul(),
            Violation::LineTooLong => replies::message_line_too_long(),
        })
    }

    /// Swallows the rest: the relay itself cannot take the message.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal.get_or_insert(reply);
    }

    /// Whether the whole header section is there.
    pub(super) fn header_has_ended(&self) -> bool {
        self.header.has_ended()
    }

    /// At the end: the envelope of a good message, or the reply to another.
    pub(super) fn finish(self) -> Result<Transaction, Reply> {
        match self.refusal {
            None => Ok(Transaction {
                lacks_header: self.header.is_missing(),
                utf8: self.transaction.utf8 && self.needs_utf8(),
                ..self.transaction
            }),
            Some(reply) => Err(reply),
        }
    }

    fn needs_utf8(&self) -> bool {
        let sender = self.transaction.sender.mailbox();
        self.header.is_utf8() || sender.is_some_and(Mailbox::needs_utf8)
    }

    pub(super) fn transaction(&self) -> &Transaction {
        &self.transaction
    }
}
