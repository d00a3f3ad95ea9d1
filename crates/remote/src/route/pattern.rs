//! Which senders and recipients a route is for.

use std::fmt;
use std::str::FromStr;

use relay_smtp::address::{is_domain, parse_literal};
use relay_smtp::{Mailbox, ReversePath};

use super::error::RouteError;

/// Recipient domains: `example.org`, `.example.org` for all below it, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DomainPattern {
    Any,
    Exact(String),
    /// With its leading dot.
    Suffix(String),
}

impl DomainPattern {
    pub(super) fn parse(text: &str) -> Result<Self, RouteError> {
        let text = text.to_lowercase();
        match text.strip_prefix('.') {
            None if text == "*" => Ok(Self::Any),
            Some(suffix) if is_domain(suffix) => Ok(Self::Suffix(text)),
            None if is_domain(&text) || parse_literal(&text).is_some() => Ok(Self::Exact(text)),
            _ => Err(RouteError::Domain(text)),
        }
    }

    /// `domain` in lower case.
    pub(super) fn matches(&self, domain: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == domain,
            Self::Suffix(suffix) => domain.ends_with(suffix.as_str()),
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::Exact(domain) | Self::Suffix(domain) => domain,
        })
    }
}

/// Envelope senders: `user@example.org`, `*@example.org` or `@example.org` for all of a domain,
/// `*@.example.org` for all domains below it, `<>` for the null sender. Case makes no difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderPattern(Senders);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Senders {
    Null,
    Mailbox(Mailbox),
    Domain(DomainPattern),
}

impl SenderPattern {
    /// Whether mail of this sender is meant.
    pub fn matches(&self, sender: &ReversePath) -> bool {
        match (&self.0, sender) {
            (Senders::Null, ReversePath::Null) => true,
            (Senders::Mailbox(address), ReversePath::Mailbox(mailbox)) => {
                mailbox.as_str().eq_ignore_ascii_case(address.as_str())
            }
            (Senders::Domain(domain), ReversePath::Mailbox(mailbox)) => {
                domain.matches(&mailbox.domain().to_lowercase())
            }
            (Senders::Null, ReversePath::Mailbox(_))
            | (Senders::Mailbox(_) | Senders::Domain(_), ReversePath::Null) => false,
        }
    }
}

impl FromStr for SenderPattern {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let bad = || RouteError::Sender(text.to_owned());
        let senders = match text.rsplit_once('@') {
            None if text == "<>" => Senders::Null,
            Some(("" | "*", domain)) if domain != "*" => {
                Senders::Domain(DomainPattern::parse(domain).map_err(|_| bad())?)
            }
            _ => Senders::Mailbox(text.parse().map_err(|_| bad())?),
        };
        Ok(Self(senders))
    }
}

impl fmt::Display for SenderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Senders::Null => f.write_str("<>"),
            Senders::Mailbox(address) => address.fmt(f),
            Senders::Domain(domain) => write!(f, "*@{domain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, sender: &str) -> bool {
        let sender = sender.parse().expect("a sender");
        pattern
            .parse::<SenderPattern>()
            .expect(pattern)
            .matches(&sender)
    }

    #[test]
    fn senders_match_by_address_or_domain_in_any_case() {
        for (pattern, yes, no) in [
            ("*@shop.test", "a@Shop.test", "a@sub.shop.test"),
            ("@shop.test", "b@shop.test", "b@notshop.test"),
            ("*@.shop.test", "a@sub.shop.test", "a@shop.test"),
            ("News@shop.test", "news@SHOP.test", "new@shop.test"),
            ("<>", "", "a@shop.test"),
            ("*@shop.test", "a@shop.test", ""),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
    }

    #[test]
    fn other_patterns_are_refused() {
        for bad in [
            "",
            "*",
            "shop.test",
            "*@",
            "@",
            "*@*",
            "*@a b",
            "a b@c.test",
            "a@c.test ",
        ] {
            let parsed = bad.parse::<SenderPattern>();
            assert_eq!(parsed, Err(RouteError::Sender(bad.to_owned())), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_shows_itself_as_it_is_written() {
        for text in ["*@shop.test", "*@.shop.test", "news@shop.test", "<>"] {
            let pattern: SenderPattern = text.parse().expect(text);
            assert_eq!(pattern.to_string(), text);
        }
    }
}
