//! The books: what became of every recipient that ever entered the queue.
//!
//! They lie beside the records and are written in the very batch that moves a recipient, so that
//! they agree with the queue after any crash.

use serde::{Deserialize, Serialize};

use crate::message::{Message, Origin, RecipientState};

/// The first octet of the books. A changed layout gets a new number and keeps reading the old one.
const VERSION: u8 = 1;

/// Recipients counted since the queue was made: what came in, and what it became.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Books {
    /// Of messages taken in from clients.
    pub accepted: u64,
    /// Of our own reports.
    pub reports: u64,
    /// Handed over to another host.
    pub delivered: u64,
    /// Failed for good, and nothing is left to be told to anybody.
    pub bounced: u64,
    /// Not settled yet when the operator deleted their message.
    pub discarded: u64,
    /// Not settled yet when their message was found damaged and set aside.
    pub set_aside: u64,
}

impl Books {
    /// Recipients that something is left to do for, as the books have it.
    pub fn queued(&self) -> u64 {
        let left = [self.delivered, self.bounced, self.discarded, self.set_aside];
        let came = self.accepted.saturating_add(self.reports);
        left.into_iter().fold(came, u64::saturating_sub)
    }

    /// How many more came in than are accounted for, if this many are queued; negative if fewer.
    pub(crate) fn difference(&self, queued: u64) -> i128 {
        let sum = |counts: &[u64]| counts.iter().map(|&n| i128::from(n)).sum::<i128>();
        let left = [self.delivered, self.bounced, self.discarded, self.set_aside];
        sum(&[self.accepted, self.reports]) - sum(&left) - i128::from(queued)
    }

    /// Has them agree with a queue of so many: what is missing there counts as set aside, what is
    /// there and never came in as accepted.
    pub(crate) fn balance(&mut self, queued: u64) {
        let difference = self.difference(queued);
        let side = match difference {
            0.. => &mut self.set_aside,
            _ => &mut self.accepted,
        };
        *side = side.saturating_add(u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX));
    }

    pub(crate) fn enter(&mut self, origin: Origin, recipients: u64) {
        *self.entrance(origin) += recipients;
    }

    /// It never came in.
    pub(crate) fn take_back(&mut self, message: &Message) {
        let entrance = self.entrance(message.origin);
        *entrance = entrance.saturating_sub(message.outstanding());
    }

    fn entrance(&mut self, origin: Origin) -> &mut u64 {
        match origin {
            Origin::Client => &mut self.accepted,
            Origin::Bounce | Origin::DoubleBounce => &mut self.reports,
        }
    }

    /// What an attempt has settled; a recipient that is settled stays so.
    pub(crate) fn settle(&mut self, before: Settled, message: &Message) {
        let after = Settled::of(message);
        self.delivered += after.delivered.saturating_sub(before.delivered);
        self.bounced += after.bounced.saturating_sub(before.bounced);
    }
}

/// Recipients of one message that are settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    delivered: u64,
    bounced: u64,
}

impl Settled {
    pub(crate) fn of(message: &Message) -> Self {
        let count = |state: &RecipientState| {
            let rows = message.recipients.iter();
            rows.filter(|recipient| recipient.state == *state).count() as u64
        };
        Self {
            delivered: count(&RecipientState::Done),
            bounced: count(&RecipientState::Failed { reported: true }),
        }
    }
}

/// The books held against the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// What the books say.
    pub books: Books,
    /// Recipients that something is left to do for, counted in the records.
    pub queued: u64,
}

impl Audit {
    /// Whether what came in is what became of it and what is still there.
    pub fn is_balanced(&self) -> bool {
        let Books {
            accepted,
            reports,
            delivered,
            bounced,
            discarded,
            set_aside,
        } = self.books;
        let sum = |counts: &[u64]| counts.iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
        let became = [delivered, bounced, discarded, set_aside, self.queued];
        sum(&[accepted, reports]) == sum(&became)
    }
}

/// The books as they lie in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) books: Books,
    /// Whether a record was set aside that nobody could read: how many recipients it had is what
    /// the books have too many at the next start, when all others are counted.
    pub(crate) is_short: bool,
}

impl Ledger {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("postcard writes any number into a vector")
    }

    /// `None` if these octets are no books.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (ledger, rest) = postcard::take_from_bytes(rest).ok()?;
        (version == VERSION && rest.is_empty()).then_some(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOKS: Books = Books {
        accepted: 300,
        reports: 5,
        delivered: 200,
        bounced: 4,
        discarded: 3,
        set_aside: 2,
    };

    #[test]
    fn the_books_are_read_and_written_as_ever() {
        let ledger = Ledger {
            books: BOOKS,
            is_short: true,
        };
        let golden = b"\x01\xac\x02\x05\xc8\x01\x04\x03\x02\x01";
        assert_eq!(ledger.encode(), golden);
        assert_eq!(Ledger::decode(golden), Some(ledger));
        for end in 0..golden.len() {
            assert_eq!(Ledger::decode(&golden[..end]), None);
        }
        assert_eq!(Ledger::decode(&[&golden[..], b"x"].concat()), None);
        assert_eq!(Ledger::decode(&[b"\x02", &golden[1..]].concat()), None);
    }

    #[test]
    fn an_audit_balances_only_with_the_right_count() {
        assert_eq!(BOOKS.queued(), 96);
        for (queued, is_balanced) in [(96, true), (95, false), (97, false)] {
            let books = BOOKS;
            assert_eq!(Audit { books, queued }.is_balanced(), is_balanced);
        }
        let books = Books {
            delivered: 400,
            ..BOOKS
        };
        assert_eq!(books.queued(), 0);
        assert!(!Audit { books, queued: 0 }.is_balanced());
    }
}
