//! Patterns of domains and addresses. Every configuration key and command uses the same patterns.
//!
//! | pattern | meaning |
//! |---|---|
//! | `example.org` | this domain |
//! | `.example.org` | every domain below it |
//! | `*` | every domain |
//! | `user@DOMAIN` | one local part at the domains that `DOMAIN` matches |
//! | `*@DOMAIN`, `@DOMAIN` | every address at the domains that `DOMAIN` matches |
//! | `<>` | the null sender, where senders are matched |
//!
//! Case is ignored, even in local parts: an operator who blocks or rewrites `root` also means
//! `Root`.

use std::fmt;
use std::str::FromStr;

use crate::address::{Mailbox, ReversePath, is_domain, parse_literal};

/// A text that is not a domain pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a domain, \"example.org\", nor a suffix, \".example.org\", nor \"*\"")]
pub struct DomainPatternError(String);

/// A text that is not an address pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an address such as \"user@example.org\", \"*@example.org\", \"*@.example.org\" or \"root@*\""
)]
pub struct AddressPatternError(String);

/// Matches one domain, all domains below one, or all domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainPattern(Domains);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Domains {
    Any,
    /// A domain or an address literal, as it was written.
    Exact(Box<str>),
    /// The parent domain with its leading dot, as it was written.
    Below(Box<str>),
}

impl DomainPattern {
    /// Whether the pattern matches `domain`.
    pub fn matches(&self, domain: &str) -> bool {
        match &self.0 {
            Domains::Any => true,
            Domains::Exact(exact) => is_same(domain, exact),
            Domains::Below(suffix) => is_below(domain, suffix),
        }
    }

    /// Whether the pattern is `*`, which matches every domain.
    pub fn is_any(&self) -> bool {
        matches!(self.0, Domains::Any)
    }

    /// Whether the pattern is limited to domains that it names: it is neither `*` nor an address literal.
    pub fn names_a_domain(&self) -> bool {
        match &self.0 {
            Domains::Any => false,
            Domains::Exact(exact) => is_domain(exact),
            Domains::Below(_) => true,
        }
    }
}

fn is_same(domain: &str, exact: &str) -> bool {
    domain.eq_ignore_ascii_case(exact)
        || (!domain.is_ascii() && domain.to_lowercase() == exact.to_lowercase())
}

fn is_below(domain: &str, suffix: &str) -> bool {
    if !domain.is_ascii() {
        let (domain, suffix) = (domain.to_lowercase(), suffix.to_lowercase());
        return domain.len() > suffix.len() && domain.ends_with(&suffix);
    }
    domain
        .len()
        .checked_sub(suffix.len())
        .filter(|&start| start > 0)
        .is_some_and(|start| domain[start..].eq_ignore_ascii_case(suffix))
}

impl FromStr for DomainPattern {
    type Err = DomainPatternError;

    fn from_str(text: &str) -> Result<Self, DomainPatternError> {
        let domains = match text.strip_prefix('.') {
            None if text == "*" => Domains::Any,
            Some(parent) if is_domain(parent) => Domains::Below(text.into()),
            None if is_domain(text) || parse_literal(text).is_some() => Domains::Exact(text.into()),
            _ => return Err(DomainPatternError(text.to_owned())),
        };
        Ok(Self(domains))
    }
}

/// The pattern as it was written.
impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Domains::Any => "*",
            Domains::Exact(domain) | Domains::Below(domain) => domain,
        })
    }
}

/// Matches addresses by local part, domain or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPattern {
    /// `None` matches every local part.
    local_part: Option<Box<str>>,
    domain: DomainPattern,
}

impl AddressPattern {
    /// Whether the pattern matches this address.
    pub fn matches(&self, address: &Mailbox) -> bool {
        self.local_part
            .as_deref()
            .is_none_or(|local| address.local_part().eq_ignore_ascii_case(local))
            && self.domain.matches(address.domain())
    }
}

impl FromStr for AddressPattern {
    type Err = AddressPatternError;

    fn from_str(text: &str) -> Result<Self, AddressPatternError> {
        let error = || AddressPatternError(text.to_owned());
        // A quoted local part could contain a tab or a line end, which our files do not allow.
        if text.contains(char::is_control) {
            return Err(error());
        }
        let (local_part, domain) = text.rsplit_once('@').ok_or_else(error)?;
        let local_part = match local_part {
            "" | "*" => None,
            local => {
                // A local part is valid if it makes a valid address.
                let address: Result<Mailbox, _> = format!("{local}@example.org").parse();
                Some(address.map_err(|_| error())?.local_part().into())
            }
        };
        let domain = domain.parse().map_err(|_| error())?;
        Ok(Self { local_part, domain })
    }
}

/// Formats the pattern as it was written, except that `@example.org` becomes `*@example.org`.
impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local_part = self.local_part.as_deref().unwrap_or("*");
        write!(f, "{local_part}@{}", self.domain)
    }
}

/// Matches envelope senders, including the null sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderPattern {
    /// The null sender.
    Null,
    /// Senders with an address.
    Address(AddressPattern),
}

impl SenderPattern {
    /// Whether the pattern matches this sender.
    pub fn matches(&self, sender: &ReversePath) -> bool {
        match (self, sender) {
            (Self::Null, ReversePath::Null) => true,
            (Self::Address(pattern), ReversePath::Mailbox(address)) => pattern.matches(address),
            (Self::Null, ReversePath::Mailbox(_)) | (Self::Address(_), ReversePath::Null) => false,
        }
    }
}

impl FromStr for SenderPattern {
    type Err = AddressPatternError;

    fn from_str(text: &str) -> Result<Self, AddressPatternError> {
        match text {
            "<>" => Ok(Self::Null),
            text => text.parse().map(Self::Address),
        }
    }
}

impl fmt::Display for SenderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(pattern) => pattern.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_domain_pattern_matches_in_any_case() {
        for (pattern, domain, matches) in [
            ("local.test", "LOCAL.Test", true),
            ("local.test", "a.local.test", false),
            ("local.test", "notlocal.test", false),
            (".sub.test", "a.b.Sub.test", true),
            (".sub.test", "sub.test", false),
            (".sub.test", "xsub.test", false),
            (".sub.test", "bücher.sub.test", true),
            (".sub.test", "ü.test", false),
            (".bücher.test", "a.BÜCHER.test", true),
            ("bücher.test", "BÜCHER.test", true),
            ("*", "any.test", true),
            ("*", "[192.0.2.1]", true),
            ("[192.0.2.1]", "[192.0.2.1]", true),
            ("[192.0.2.1]", "[192.0.2.2]", false),
        ] {
            let parsed: DomainPattern = pattern.parse().expect(pattern);
            assert_eq!(parsed.matches(domain), matches, "{pattern} {domain}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn only_a_domain_or_suffix_names_a_domain() {
        for (pattern, names) in [
            ("local.test", true),
            (".local.test", true),
            ("*", false),
            ("[192.0.2.1]", false),
        ] {
            let parsed: DomainPattern = pattern.parse().expect(pattern);
            assert_eq!(parsed.names_a_domain(), names, "{pattern}");
        }
    }

    #[test]
    fn an_address_pattern_matches_by_local_part_and_domain_in_any_case() {
        for (pattern, address, matches) in [
            ("root@*", "Root@b.test", true),
            ("root@*", "root@[192.0.2.1]", true),
            ("root@*", "toor@a.test", false),
            ("root@a.test", "root@A.TEST", true),
            ("root@a.test", "root@b.a.test", false),
            ("root@[192.0.2.1]", "root@[192.0.2.1]", true),
            ("*@a.test", "anybody@a.test", true),
            ("@a.test", "anybody@A.test", true),
            ("*@a.test", "anybody@b.test", false),
            ("*@.a.test", "anybody@b.a.test", true),
            ("@.a.test", "anybody@b.a.test", true),
            ("*@.a.test", "anybody@a.test", false),
            ("*@*", "anybody@a.test", true),
            ("\"a b\"@*", "\"a b\"@a.test", true),
            ("a*@*", "ab@a.test", false),
        ] {
            let parsed: AddressPattern = pattern.parse().expect(pattern);
            let address = address.parse().expect(address);
            assert_eq!(parsed.matches(&address), matches, "{pattern} {address}");
        }
    }

    #[test]
    fn only_the_null_pattern_matches_the_null_sender() {
        for (pattern, sender, matches) in [
            ("<>", "", true),
            ("<>", "a@shop.test", false),
            ("*@*", "", false),
            ("*@shop.test", "a@Shop.test", true),
        ] {
            let parsed: SenderPattern = pattern.parse().expect(pattern);
            let sender = sender.parse().expect("a sender");
            assert_eq!(parsed.matches(&sender), matches, "{pattern}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn other_texts_are_not_patterns() {
        for text in [
            "",
            ".",
            "a b",
            "*.example.org",
            "user@host",
            "[192.0.2]",
            "a.*",
        ] {
            let error = Err(DomainPatternError(text.to_owned()));
            assert_eq!(text.parse::<DomainPattern>(), error);
        }
        for text in [
            "",
            "@",
            "*",
            "*@",
            "user",
            "user@",
            "@a b",
            "a b@*",
            "a@*.test",
            "a@b@c",
            "a@b@*",
            "a@c.test ",
            "\"a\tb\"@c.test",
            "a@b.test\n",
            "<>",
        ] {
            let error = Err(AddressPatternError(text.to_owned()));
            assert_eq!(text.parse::<AddressPattern>(), error);
        }
    }

    proptest! {
        #[test]
        fn a_formatted_pattern_parses_to_the_same_pattern(text in "[*.@<>a-cA-C\\[\\]üÜ1\"]{0,12}") {
            if let Ok(pattern) = text.parse::<SenderPattern>() {
                prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
            }
            if let Ok(pattern) = text.parse::<DomainPattern>() {
                prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
            }
        }
    }
}
