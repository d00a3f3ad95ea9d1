//! Rewrites addresses of submitted mail: completes bare addresses and replaces senders.
//!
//! The operator sets the rules. In a header section only the addresses change. Every other octet
//! stays as it came: names, comments, groups and folds.

mod header;

use std::borrow::Cow;
use std::sync::Arc;

use relay_smtp::pattern::AddressPattern;
use relay_smtp::{Mailbox, ReversePath};

/// The rules for addresses of submitted mail. By default nothing changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewriting {
    /// The domain that completes bare addresses.
    pub domain: Option<Arc<str>>,
    /// The rules for replacing senders. The first rule that matches applies.
    pub from: Vec<Replacement>,
}

/// A rule that replaces senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The senders that it replaces.
    pub pattern: AddressPattern,
    /// The sender to use instead.
    pub sender: Mailbox,
}

/// The rewritten header section would exceed the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header section is too long after its addresses are completed")]
pub struct TooLong;

impl Rewriting {
    /// Returns the rewritten sender of an envelope. The null sender stays.
    pub fn sender(&self, sender: ReversePath) -> ReversePath {
        let other = sender.mailbox().and_then(|mailbox| self.stand_in(mailbox));
        other.cloned().map_or(sender, ReversePath::Mailbox)
    }

    /// Returns the rewritten fields of a header section, without the empty line that ends it. Bare
    /// addresses in From, Sender, Reply-To, To and Cc are completed, and authors are replaced. A
    /// result of more than `most` octets is an error.
    ///
    /// This takes one pass over the octets, and at most `most` octets of memory.
    pub fn header<'a>(&self, fields: &'a [u8], most: usize) -> Result<Cow<'a, [u8]>, TooLong> {
        if self.domain.is_none() && self.from.is_empty() {
            return Ok(Cow::Borrowed(fields));
        }
        header::rewrite(self, fields, most)
    }

    fn stand_in(&self, sender: &Mailbox) -> Option<&Mailbox> {
        let mut rules = self.from.iter();
        let rule = rules.find(|rule| rule.pattern.matches(sender))?;
        Some(&rule.sender)
    }

    /// Completes a bare address with its domain. Returns `None` if the result is not a valid
    /// address.
    fn completed(&self, local_part: &str) -> Option<Mailbox> {
        let domain = self.domain.as_deref()?;
        format!("{local_part}@{domain}").parse().ok()
    }
}
