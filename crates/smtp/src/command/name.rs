//! The name that a client gives in EHLO or HELO.

use std::fmt;

/// The name that a client gives in EHLO or HELO. RFC 5321 §4.1.3 requires a domain or an address
/// literal, but real clients send other names too. No decision depends on the name, so no
/// characters cause a refusal; characters that could break a header or a log line are replaced by
/// `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(Box<str>);

impl ClientName {
    /// RFC 5321 §4.5.3.1.2
    const MAX: usize = 255;

    /// Makes a name of 1 to 255 octets without control characters. All characters other than
    /// letters, digits and `.-_:[]` become `?`.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=Self::MAX).contains(&text.len()) && !text.contains(char::is_control);
        let name = text.chars().map(|c| {
            let is_plain = c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
            if is_plain { c } else { '?' }
        });
        fits.then(|| Self(name.collect()))
    }

    /// The name, which is safe in a header and in a log.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{self, Command};

    #[test]
    fn unsafe_characters_of_a_client_name_are_replaced() {
        for (line, name) in [
            (&b"EHLO mx_1.b-c.test"[..], "mx_1.b-c.test"),
            (b"EHLO [IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            (b"EHLO Tim's Box", "Tim?s?Box"),
            (b"EHLO  (none)", "?none?"),
            (b"EHLO a;b,c<d>\"e\\", "a?b?c?d??e?"),
            (b"EHLO B\xc3\xbcro", "B?ro"),
            (b"EHLO B\xfcro", "B?ro"),
        ] {
            let name = ClientName(name.into());
            assert_eq!(command::parse(line), Ok(Command::Ehlo(name)), "{line:?}");
        }
        assert!(ClientName::parse(&"x".repeat(255)).is_some());
        assert!(ClientName::parse(&"x".repeat(256)).is_none());
    }
}
