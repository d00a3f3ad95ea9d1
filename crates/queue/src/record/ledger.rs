//! The books in the database: a version octet, then postcard.
//!
//! The batch that changes a recipient also writes the books, so that books and records agree after
//! any crash.

use relay_message::Books;
use serde::{Deserialize, Serialize};

/// The first octet of the books. A new layout gets a new number, and the old ones can still be
/// read.
const VERSION: u8 = 1;

/// The books, and whether they are incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ledger {
    pub(crate) books: Books,
    /// Whether an unreadable record was set aside. The next start counts all other recipients, and
    /// so finds how many it had: the number that is missing in the queue.
    pub(crate) is_short: bool,
}

/// The layout.
#[derive(Serialize, Deserialize)]
struct Stored {
    accepted: u64,
    reports: u64,
    delivered: u64,
    bounced: u64,
    discarded: u64,
    set_aside: u64,
    is_short: bool,
}

impl Ledger {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let stored = Stored::from(*self);
        postcard::to_extend(&stored, vec![VERSION])
            .expect("postcard writes any number into a vector")
    }

    /// Returns `None` if these octets are not the books.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (stored, rest) = postcard::take_from_bytes::<Stored>(rest).ok()?;
        (version == VERSION && rest.is_empty()).then_some(stored.into())
    }
}

impl From<Ledger> for Stored {
    fn from(ledger: Ledger) -> Self {
        let Books {
            accepted,
            reports,
            delivered,
            bounced,
            discarded,
            set_aside,
        } = ledger.books;
        Self {
            accepted,
            reports,
            delivered,
            bounced,
            discarded,
            set_aside,
            is_short: ledger.is_short,
        }
    }
}

impl From<Stored> for Ledger {
    fn from(stored: Stored) -> Self {
        let Stored {
            accepted,
            reports,
            delivered,
            bounced,
            discarded,
            set_aside,
            is_short,
        } = stored;
        let books = Books {
            accepted,
            reports,
            delivered,
            bounced,
            discarded,
            set_aside,
        };
        Self { books, is_short }
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
    fn the_books_are_read_and_written_as_before() {
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
}
