//! Receives the message after DATA.

use crate::address::Mailbox;
use crate::body::{BodyDecoder, Violation};
use crate::reply::Reply;

use super::event::Transaction;
use super::replies;
use super::settings::SessionLimits;
use crate::header::{HeaderFault, HeaderScan};

/// A message that is coming in. After an error the rest is discarded up to the true end of the
/// message, because the reply may be sent only there (RFC 5321 §3.3).
#[derive(Debug)]
pub(super) struct Receiving {
    transaction: Transaction,
    decoder: BodyDecoder,
    header: HeaderScan,
    room: u64,
    refusal: Option<Reply>,
}

/// The result of a piece of input.
#[derive(Debug)]
pub(super) struct ReceiveStep {
    /// The octets of input that were consumed.
    pub(super) consumed: usize,
    /// Whether the message has ended.
    pub(super) ended: bool,
    /// The error that was found in this piece.
    pub(super) refusal: Option<Reply>,
}

impl Receiving {
    pub(super) fn new(transaction: Transaction, limits: &SessionLimits) -> Self {
        Self {
            transaction,
            decoder: BodyDecoder::new(limits.bare_newline, limits.line_length),
            header: HeaderScan::new(limits.header_size, limits.hops),
            room: limits.message_size,
            refusal: None,
        }
    }

    /// Decodes a piece of input and appends the result to `message`. After an error `message`
    /// stays empty.
    pub(super) fn take(&mut self, input: &[u8], message: &mut Vec<u8>) -> ReceiveStep {
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
        ReceiveStep {
            consumed: decoded.consumed,
            ended: decoded.ended,
            refusal,
        }
    }

    /// Checks new octets in the order of the message, so that the reply does not depend on how the
    /// input is split.
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

    /// Discards the rest, because the relay itself cannot take the message.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal.get_or_insert(reply);
    }

    /// Whether the header section is complete.
    pub(super) fn header_has_ended(&self) -> bool {
        self.header.has_ended()
    }

    /// Ends the message. Returns the envelope, or the reply to a message with an error.
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
