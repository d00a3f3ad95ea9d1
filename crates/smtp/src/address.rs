//! Mailboxes and the two paths of the envelope (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most octets of a local part. RFC 5321 §4.5.3.1.1 says 64, but §4.5.3.1 asks implementations
/// to allow more: bounce addresses that contain the recipient (VERP) or a forwarded sender (SRS)
/// are often longer.
const MAX_LOCAL: usize = 255;
/// RFC 5321 §4.5.3.1.2: the most octets of a domain.
const MAX_DOMAIN: usize = 255;
/// RFC 1035 §2.3.4: the most octets of a label.
const MAX_LABEL: usize = 63;

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `@`, or nothing before or after it.
    #[error("an address is local-part@domain")]
    Incomplete,
    /// The local part is neither a dot-string nor a quoted string.
    #[error("bad local part")]
    LocalPart,
    /// The domain is neither a host name nor an address literal.
    #[error("bad domain")]
    Domain,
    /// There are more than 255 octets before the `@`, or more than 255 after it.
    #[error("address too long")]
    TooLong,
}

/// `local-part@domain`, valid by RFC 5321 §4.1.2 and RFC 6531 §3.3.
///
/// The text is kept unchanged. The local part is interpreted by its own host, which may distinguish
/// case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mailbox {
    text: Box<str>,
    at: u8,
}

impl Mailbox {
    /// The part before the `@`, quotes included.
    pub fn local_part(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// The domain or address literal, as it was written.
    pub fn domain(&self) -> &str {
        &self.text[usize::from(self.at) + 1..]
    }

    /// The whole address without angle brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The IP address, if the domain is an address literal (RFC 5321 §4.1.3).
    pub fn address_literal(&self) -> Option<IpAddr> {
        parse_literal(self.domain())
    }

    /// Whether the address can be sent only to a peer that offers SMTPUTF8 (RFC 6531).
    pub fn needs_utf8(&self) -> bool {
        !self.text.is_ascii()
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let at = local_part_end(text)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.len() > MAX_LOCAL || domain.len() > MAX_DOMAIN {
            return Err(AddressError::TooLong);
        }
        if !is_domain(domain) && parse_literal(domain).is_none() {
            return Err(AddressError::Domain);
        }
        let at = u8::try_from(at).map_err(|_| AddressError::TooLong)?;
        Ok(Self {
            text: text.into(),
            at,
        })
    }
}

impl TryFrom<String> for Mailbox {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Mailbox> for String {
    fn from(mailbox: Mailbox) -> String {
        mailbox.text.into()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The address that gets bounces: the argument of MAIL FROM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ReversePath {
    /// `<>`: the sender of a notification. No notification may be sent for it (RFC 5321 §4.5.5).
    Null,
    /// An ordinary sender.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The sender without angle brackets; empty for the null path.
    pub fn as_str(&self) -> &str {
        match self {
            ReversePath::Null => "",
            ReversePath::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// The mailbox, if there is one.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

/// Formats the path with angle brackets, as in MAIL FROM and the log.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

impl FromStr for ReversePath {
    type Err = AddressError;

    /// Parses a path without angle brackets. An empty text is the null path.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text {
            "" => Ok(Self::Null),
            _ => strip_source_route(text)?.parse().map(Self::Mailbox),
        }
    }
}

/// The address that the message is for: the argument of RCPT TO.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, which every server must accept (RFC 5321 §4.5.1).
    Postmaster,
    /// An ordinary recipient.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// The recipient without angle brackets.
    pub fn as_str(&self) -> &str {
        match self {
            ForwardPath::Postmaster => "postmaster",
            ForwardPath::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// The mailbox, if it has a domain.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ForwardPath::Postmaster => None,
            ForwardPath::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

/// Formats the path with angle brackets, as in RCPT TO and the log.
impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

impl FromStr for ForwardPath {
    type Err = AddressError;

    /// Parses a path without angle brackets. A source route is removed (RFC 5321 §4.1.1.3, appendix
    /// C).
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster);
        }
        strip_source_route(text)?.parse().map(Self::Mailbox)
    }
}

macro_rules! as_string_in_serde {
    ($($path:ty),*) => {$(
        impl From<$path> for String {
            fn from(path: $path) -> String {
                path.as_str().to_owned()
            }
        }
        impl TryFrom<String> for $path {
            type Error = AddressError;
            fn try_from(text: String) -> Result<Self, AddressError> {
                text.parse()
            }
        }
    )*};
}
as_string_in_serde!(ReversePath, ForwardPath);

/// Whether `text` is a host name: labels of letters, digits, hyphens, underscores (which real mail
/// domains use) or UTF-8 (RFC 6531 §3.3), without a trailing dot.
pub fn is_domain(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_DOMAIN && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c != '-');
    label.len() <= MAX_LABEL
        && ends(label.chars().next())
        && ends(label.chars().next_back())
        && label
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || is_utf8_letter(c))
}

/// Returns an address without its angle brackets, as a log or a header may have them. Other text stays as it
/// is.
pub fn unbracketed(text: &str) -> &str {
    let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    inner.unwrap_or(text)
}

/// Whether the address is in this domain. Case is ignored (RFC 5321 §2.4).
pub fn is_at(address: &str, domain: &str) -> bool {
    let at = address.rsplit_once('@');
    at.is_some_and(|(_, of)| of.eq_ignore_ascii_case(domain))
}

/// Parses the address in `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
pub fn parse_literal(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// `@a.example,@b.example:user@c.example` means `user@c.example` (RFC 5321 appendix C).
fn strip_source_route(text: &str) -> Result<&str, AddressError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let (route, rest) = text.split_once(':').ok_or(AddressError::Incomplete)?;
    let is_valid = route
        .split(',')
        .all(|hop| hop.strip_prefix('@').is_some_and(is_domain));
    if is_valid {
        Ok(rest)
    } else {
        Err(AddressError::Domain)
    }
}

/// Returns the index of the `@` that ends a valid local part.
fn local_part_end(text: &str) -> Result<usize, AddressError> {
    let end = if text.starts_with('"') {
        quoted_string_end(text)?
    } else {
        let end = text.find('@').ok_or(AddressError::Incomplete)?;
        if !text[..end].split('.').all(is_atom) {
            return Err(AddressError::LocalPart);
        }
        end
    };
    match text.as_bytes().get(end) {
        Some(b'@') => Ok(end),
        Some(_) => Err(AddressError::LocalPart),
        None => Err(AddressError::Incomplete),
    }
}

/// Returns the index after the closing quote (RFC 5321 §4.1.2, Quoted-string).
fn quoted_string_end(text: &str) -> Result<usize, AddressError> {
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok(i + 1),
            '\\' => match chars.next() {
                Some((_, ' '..='~')) => {}
                _ => return Err(AddressError::LocalPart),
            },
            ' '..='~' => {}
            c if is_utf8_letter(c) => {}
            _ => return Err(AddressError::LocalPart),
        }
    }
    Err(AddressError::LocalPart)
}

/// RFC 5322 §3.2.3 `atext`, one or more, and RFC 6531 UTF-8.
fn is_atom(atom: &str) -> bool {
    !atom.is_empty()
        && atom.chars().all(|c| {
            c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_letter(c)
        })
}

/// UTF-8 beyond ASCII, without controls, blanks and characters that change the direction of
/// writing, because the log must show an address as it is.
pub(crate) fn is_utf8_letter(c: char) -> bool {
    let steers = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    !c.is_ascii() && !c.is_control() && !c.is_whitespace() && !steers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pair_of_angle_brackets_is_removed() {
        for (text, expected) in [
            ("<a@b.test>", "a@b.test"),
            ("<>", ""),
            ("a@b.test", "a@b.test"),
            ("<a@b.test", "<a@b.test"),
            ("<<a@b.test>>", "<a@b.test>"),
        ] {
            assert_eq!(unbracketed(text), expected);
        }
    }

    #[test]
    fn the_domain_of_an_address_follows_its_last_at_sign() {
        for (address, domain, expected) in [
            ("u@a.test", "A.test", true),
            ("\"u@b.test\"@a.test", "a.test", true),
            ("\"u@b.test\"@a.test", "b.test", false),
            ("u@sub.a.test", "a.test", false),
            ("postmaster", "postmaster", false),
        ] {
            assert_eq!(is_at(address, domain), expected, "{address}");
        }
    }

    #[test]
    fn valid_mailboxes_keep_their_text() {
        for (text, local, domain) in [
            ("a@b.test", "a", "b.test"),
            ("A.b+c@B.Test", "A.b+c", "B.Test"),
            ("\"a b@c\"@d.test", "\"a b@c\"", "d.test"),
            ("\"a\\\"b\"@d.test", "\"a\\\"b\"", "d.test"),
            ("u@[192.0.2.1]", "u", "[192.0.2.1]"),
            ("u@[IPv6:2001:db8::1]", "u", "[IPv6:2001:db8::1]"),
            ("bücher@bücher.test", "bücher", "bücher.test"),
            ("a!b%c@d.test", "a!b%c", "d.test"),
            ("root@localhost", "root", "localhost"),
        ] {
            let mailbox: Mailbox = text.parse().expect(text);
            assert_eq!((mailbox.local_part(), mailbox.domain()), (local, domain));
            assert_eq!(mailbox.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "a",
            "@b.test",
            "a@",
            "a@b.",
            "a@.b",
            "a@b..c",
            "a b@c.test",
            ".a@b.test",
            "a.@b.test",
            "a..b@c.test",
            "\"a@b.test",
            "\"a\"b@c.test",
            "a@-b.test",
            "a@b-.test",
            "a@[1.2.3]",
            "a@[IPv6:1.2.3.4]",
            "a@b@c.test",
            "a\r\n@b.test",
            "a@b\0.test",
            "\"a\nb\"@c.test",
            "a@b c",
            "\"a\\\u{1}b\"@c.test",
            "\"a\\é\"@c.test",
            "a\u{80}b@c.test",
            "a\u{a0}b@c.test",
            "a\u{202e}b@c.test",
            "a@b\u{2028}c.test",
            "a@b\u{3000}c.test",
        ] {
            assert!(text.parse::<Mailbox>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let local = |length: usize| format!("{}@b.test", "a".repeat(length)).parse::<Mailbox>();
        assert!(local(255).is_ok());
        assert_eq!(local(256), Err(AddressError::TooLong));
        let label = |length: usize| format!("a@{}.test", "b".repeat(length)).parse::<Mailbox>();
        assert!(label(63).is_ok());
        assert_eq!(label(64), Err(AddressError::Domain));
        let domain = |length: usize| format!("a@{}b", "b.".repeat(length / 2)).parse::<Mailbox>();
        assert!(domain(255).is_ok());
        assert_eq!(domain(257), Err(AddressError::TooLong));
    }

    #[test]
    fn source_routes_are_stripped() {
        let path: ForwardPath = "@a.test,@b.test:u@c.test".parse().expect("a source route");
        assert_eq!(path.to_string(), "<u@c.test>");
        assert!("@a.test:".parse::<ForwardPath>().is_err());
        assert!("@:u@c.test".parse::<ForwardPath>().is_err());
    }

    #[test]
    fn postmaster_needs_no_domain_and_the_null_path_is_not_a_mailbox() {
        assert_eq!("PostMaster".parse(), Ok(ForwardPath::Postmaster));
        assert_eq!("".parse(), Ok(ReversePath::Null));
        assert!("".parse::<ForwardPath>().is_err());
    }
}
