//! What a client calls itself.

use std::fmt;

/// The name by which a client introduces itself: by RFC 5321 §4.1.3 a domain or an address literal,
/// in practice also what its owner calls the machine. Nothing depends on it, so none is refused for
/// its letters; what could be more than a word in a header or a log is kept as `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(Box<str>);

impl ClientName {
    /// RFC 5321 §4.5.3.1.2
    const MAX: usize = 255;

    /// The name of 1 to 255 octets without control characters, with `?` in place of all but letters,
    /// digits and `.-_:[]`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        let fits = (1..=Self::MAX).contains(&text.len()) && !text.contains(char::is_control);
        let name = text.chars().map(|c| if is_plain(c) { c } else { '?' });
        fits.then(|| Self(name.collect()))
    }

    /// As it may stand anywhere.
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
    fn any_name_of_a_machine_is_taken_but_no_more_than_a_word_is_kept() {
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
