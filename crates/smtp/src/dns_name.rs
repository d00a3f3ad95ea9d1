//! Domains and selectors, as in a signature and in the DNS.

use std::fmt;
use std::str::FromStr;

/// The longest domain name in octets, without the last dot (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

/// The longest text that is parsed: each character of a name may take four octets of UTF-8.
/// Punycode takes more than linear time.
const MAX_TEXT: usize = 4 * MAX_NAME;

/// The longest label of a domain name in octets.
const MAX_LABEL: usize = 63;

/// A domain in lower case, with its labels in ASCII (A-labels, RFC 5890 §2.3.2.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

/// A selector: one or more labels (RFC 6376 §3.1), in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(String);

/// Why a text is not a domain or selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has characters beyond ASCII that no domain may have (RFC 5891).
    #[error("it has characters that no domain can have")]
    International,
    /// It has an empty label, or is empty.
    #[error("it has an empty label")]
    EmptyLabel,
    /// It has other characters than letters, digits and inner hyphens.
    #[error("labels are made of letters, digits, and hyphens between them")]
    Character,
    /// A label has more than 63 octets, or the name more than 253.
    #[error("a name can have at most 253 octets, a label at most 63")]
    Length,
}

impl Domain {
    /// The domain in ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `parent` or below it.
    pub fn is_at_or_below(&self, parent: &Self) -> bool {
        self.0
            .strip_suffix(parent.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl Selector {
    /// The selector as in a signature.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_TEXT {
            return Err(NameError::Length);
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| NameError::International)?;
        check(&ascii)?;
        Ok(Self(ascii))
    }
}

impl FromStr for Selector {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.to_ascii_lowercase()))
    }
}

fn check(name: &str) -> Result<(), NameError> {
    if name.len() > MAX_NAME {
        return Err(NameError::Length);
    }
    name.split('.').try_for_each(check_label)
}

/// Checks one label (RFC 5321 §4.1.2, sub-domain).
fn check_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(NameError::Length);
    }
    let is_ldh = label
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || c == b'-');
    if is_ldh && !label.starts_with('-') && !label.ends_with('-') {
        Ok(())
    } else {
        Err(NameError::Character)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_stored_as_in_the_dns() {
        for (text, kept) in [
            ("example.org", Ok("example.org")),
            ("Example.ORG", Ok("example.org")),
            ("bücher.example", Ok("xn--bcher-kva.example")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("localhost", Ok("localhost")),
            ("", Err(NameError::EmptyLabel)),
            ("example.org.", Err(NameError::EmptyLabel)),
            ("a..b", Err(NameError::EmptyLabel)),
            ("a b", Err(NameError::Character)),
            ("a;d=evil.test", Err(NameError::Character)),
            ("a\r\nX: y", Err(NameError::Character)),
            ("-a.test", Err(NameError::Character)),
        ] {
            let parsed = text.parse::<Domain>();
            assert_eq!(
                parsed.as_ref().map(Domain::as_str),
                kept.as_ref().copied(),
                "{text:?}"
            );
        }
        assert!(
            format!("{}.test", "a".repeat(64))
                .parse::<Domain>()
                .is_err()
        );
        assert!(
            "a.".repeat(127)
                .trim_end_matches('.')
                .parse::<Domain>()
                .is_ok()
        );
        assert_eq!(
            format!("{}b", "a.".repeat(127)).parse::<Domain>(),
            Err(NameError::Length)
        );
        assert_eq!(
            "ä".repeat(100_000).parse::<Domain>(),
            Err(NameError::Length)
        );
    }

    #[test]
    fn a_selector_consists_of_labels() {
        assert_eq!(
            "Mail.2026".parse::<Selector>().map(|s| s.0),
            Ok("mail.2026".into())
        );
        for text in ["", "a_b", "a:b", "a;b", "ü", "a b", ".a", "a."] {
            assert!(text.parse::<Selector>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_subdomain_has_a_dot_before_its_parent() {
        let parent: Domain = "example.org".parse().unwrap();
        for (name, below) in [
            ("example.org", true),
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("notexample.org", false),
            ("org", false),
            ("example.org.evil.test", false),
        ] {
            let name: Domain = name.parse().unwrap();
            assert_eq!(name.is_at_or_below(&parent), below, "{name}");
        }
    }
}
