//! The books: counters of every recipient that ever entered the queue.

use crate::envelope::Origin;
use crate::message::{Message, RecipientState};

/// Recipients counted since the queue was created: how many came in, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Books {
    /// Recipients of messages from clients.
    pub accepted: u64,
    /// Recipients of our own reports.
    pub reports: u64,
    /// Recipients whose message was handed over to another host.
    pub delivered: u64,
    /// Recipients that failed for good, with their report made or none due.
    pub bounced: u64,
    /// Recipients that were not settled when the operator deleted their message.
    pub discarded: u64,
    /// Recipients that were not settled when their message was found damaged and set aside.
    pub set_aside: u64,
}

impl Books {
    /// Returns how many recipients are not settled, by the books.
    pub fn queued(&self) -> u64 {
        let left = [self.delivered, self.bounced, self.discarded, self.set_aside];
        let came = self.accepted.saturating_add(self.reports);
        left.into_iter().fold(came, u64::saturating_sub)
    }

    /// Returns how many recipients are missing if `queued` of them are in the queue. The result is
    /// negative if there are too many.
    pub fn difference(&self, queued: u64) -> i128 {
        let sum = |counts: &[u64]| counts.iter().map(|&n| i128::from(n)).sum::<i128>();
        let left = [self.delivered, self.bounced, self.discarded, self.set_aside];
        sum(&[self.accepted, self.reports]) - sum(&left) - i128::from(queued)
    }

    /// Makes the books agree with a queue of `queued` recipients: missing ones count as set aside,
    /// surplus ones as accepted.
    pub fn balance(&mut self, queued: u64) {
        let difference = self.difference(queued);
        let side = match difference {
            0.. => &mut self.set_aside,
            _ => &mut self.accepted,
        };
        *side = side.saturating_add(u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX));
    }

    /// Counts the recipients of a message that enters.
    pub fn enter(&mut self, origin: Origin, recipients: u64) {
        *self.entrance(origin) += recipients;
    }

    /// Reverts [`Self::enter`] for a message whose commit failed.
    pub fn take_back(&mut self, message: &Message) {
        let entrance = self.entrance(message.origin);
        *entrance = entrance.saturating_sub(message.outstanding());
    }

    fn entrance(&mut self, origin: Origin) -> &mut u64 {
        match origin {
            Origin::Client => &mut self.accepted,
            Origin::Bounce | Origin::DoubleBounce => &mut self.reports,
        }
    }

    /// Counts the recipients that an attempt has settled. `before` is from before the changes,
    /// `message` from after them.
    pub fn settle(&mut self, before: Settled, message: &Message) {
        let after = Settled::of(message);
        self.delivered += after.delivered.saturating_sub(before.delivered);
        self.bounced += after.bounced.saturating_sub(before.bounced);
    }
}

/// How many recipients of one message are settled.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    delivered: u64,
    bounced: u64,
}

impl Settled {
    /// Counts the settled recipients of a message.
    pub fn of(message: &Message) -> Self {
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

/// The result of [`crate::QueueStore::audit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// The books.
    pub books: Books,
    /// Recipients that are not settled, counted in the records.
    pub queued: u64,
}

impl Audit {
    /// Returns whether every recipient that came in is accounted for.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_balances_only_with_the_right_count() {
        let books = Books {
            accepted: 300,
            reports: 5,
            delivered: 200,
            bounced: 4,
            discarded: 3,
            set_aside: 2,
        };
        assert_eq!(books.queued(), 96);
        for (queued, is_balanced) in [(96, true), (95, false), (97, false)] {
            assert_eq!(Audit { books, queued }.is_balanced(), is_balanced);
        }
        let books = Books {
            delivered: 400,
            ..books
        };
        assert_eq!(books.queued(), 0);
        assert!(!Audit { books, queued: 0 }.is_balanced());
    }
}
