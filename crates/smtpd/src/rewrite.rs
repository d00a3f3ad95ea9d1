//! Addresses of submitted mail that are not as they should go out: bare ones, and senders that others
//! stand in for.
//!
//! The rules are the operator's. What they say of a header section is done to its addresses alone, in
//! place; every other octet stays as it came: names, comments, groups, folds.

mod header;

use std::borrow::Cow;
use std::sync::Arc;

use relay_smtp::pattern::AddressPattern;
use relay_smtp::{Mailbox, ReversePath};

/// What is done to addresses of submitted mail; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewriting {
    /// What completes a bare address.
    pub domain: Option<Arc<str>>,
    /// Whose mail goes out as somebody else's; the first that fits says whose.
    pub from: Vec<Replacement>,
}

/// A sender that stands in for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Whom it stands in for.
    pub pattern: AddressPattern,
    /// The sender.
    pub sender: Mailbox,
}

/// The header section would be longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("with its addresses complete, the header section is too long")]
pub struct TooLong;

impl Rewriting {
    /// The sender of an envelope as it goes out. The null sender is nobody's and stays.
    pub fn sender(&self, sender: ReversePath) -> ReversePath {
        let other = sender.mailbox().and_then(|mailbox| self.stand_in(mailbox));
        other.cloned().map_or(sender, ReversePath::Mailbox)
    }

    /// The fields of a header section, without the empty line that ends it, as they go out: bare
    /// addresses of From, Sender, Reply-To, To and Cc are completed, authors are replaced. More than
    /// `most` octets of it are an error.
    ///
    /// It takes one pass over the octets, and no more memory than `most`.
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

    /// A bare address with its domain; none if nothing can make an address of it.
    fn completed(&self, local_part: &str) -> Option<Mailbox> {
        let domain = self.domain.as_deref()?;
        format!("{local_part}@{domain}").parse().ok()
    }
}
