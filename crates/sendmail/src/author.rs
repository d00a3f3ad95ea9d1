//! Determines the sender: by default the user who runs this command.

use std::fs::File;
use std::io::{self, Read as _};

use nix::unistd::{Uid, User};
use relay_smtp::ReversePath;
use relay_smtp::sasl::base64;

use crate::arguments::Options;
use crate::default_domain::DefaultDomain;
use crate::error::SendmailError;
use crate::recipients;
use crate::settings::RelaySettings;

/// How many octets of a name fit into one encoded word. In base64 and with its delimiters it stays
/// within the limit of 75 (RFC 2047 §2).
const WORD: usize = 42;

/// The sender of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Author {
    /// The address for the envelope.
    pub(crate) sender: ReversePath,
    /// The address for a From field, if the message has none.
    pub(crate) address: String,
    pub(crate) full_name: String,
    /// The domain for addresses without one.
    pub(crate) domain: DefaultDomain,
}

impl Author {
    /// Determines the sender from the options, or from the system where they are missing.
    pub(crate) fn of(options: &Options, settings: &RelaySettings) -> Result<Self, SendmailError> {
        let user = User::from_uid(Uid::current()).ok().flatten();
        // A user without a name is identified by their number.
        let login = user.as_ref().map_or_else(
            || format!("uid{}", Uid::current()),
            |user| user.name.clone(),
        );
        let gecos = user.map(|user| user.gecos.to_string_lossy().into_owned());
        let name = options.full_name.clone();
        let name = name.unwrap_or_else(|| full_name(&gecos.unwrap_or_default(), &login));
        let domain = DefaultDomain::new(settings.domain.clone());
        Self::new(options.sender.as_deref(), &login, name, domain)
    }

    fn new(
        sender: Option<&str>,
        login: &str,
        full_name: String,
        domain: DefaultDomain,
    ) -> Result<Self, SendmailError> {
        let (sender, address) = match sender.map(str::trim) {
            None => {
                let own = own_address(login, &domain)?;
                (mailbox(&own)?, own)
            }
            Some("" | "<>") => (ReversePath::Null, own_address(login, &domain)?),
            Some(written) => {
                let address = recipients::one(written, &domain)?;
                (mailbox(&address)?, address)
            }
        };
        Ok(Self {
            sender,
            address,
            full_name,
            domain,
        })
    }

    /// Returns a From field for a message without one.
    pub(crate) fn author_field(&self) -> String {
        match phrase(&self.full_name) {
            Some(phrase) => format!("From: {phrase} <{}>\r\n", self.address),
            None => format!("From: {}\r\n", self.address),
        }
    }
}

/// Returns the address of the user with this login name, which is quoted if it has to be.
fn own_address(login: &str, domain: &DefaultDomain) -> Result<String, SendmailError> {
    let own = recipients::complete(login, domain)
        .or_else(|_| recipients::complete(&relay_smtp::address_list::quoted(login), domain))?;
    Ok(own.to_string())
}

fn mailbox(text: &str) -> Result<ReversePath, SendmailError> {
    text.parse()
        .map_err(|reason| SendmailError::Address(text.to_owned(), reason))
}

/// Returns the first comma-separated part, with `&` replaced by the capitalized login name
/// (passwd(5), as finger does).
fn full_name(gecos: &str, login: &str) -> String {
    let name = gecos.split(',').next().unwrap_or_default();
    let mut letters = login.chars();
    let capital = letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>());
    name.replace('&', &(capital.unwrap_or_default() + letters.as_str()))
}

/// Encodes a display name for a header (RFC 5322 §3.2.5, RFC 2047 §5). Returns `None` if it is
/// empty. Control characters are removed.
fn phrase(name: &str) -> Option<String> {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let name = name.trim();
    if name.is_empty() {
        return None;
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    // Text that looks like an encoded word would be decoded by the reader.
    if name.chars().all(is_plain) && !name.contains("=?") {
        return Some(name.to_owned());
    }
    if name.is_ascii() && !name.contains("=?") {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        return Some(format!("\"{quoted}\""));
    }
    let mut words = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(WORD));
        words.push(format!(
            "=?utf-8?b?{}?=",
            base64::encode(word.as_bytes()).as_str()
        ));
        rest = after;
    }
    Some(words.join("\r\n "))
}

/// Returns 128 random bits in hexadecimal: a unique value that nobody can guess.
pub(crate) fn unique() -> Result<String, SendmailError> {
    let mut bits = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bits));
    read.map_err(|reason: io::Error| SendmailError::System("/dev/urandom", reason))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(sender: Option<&str>, name: &str) -> Author {
        let author = Author::new(sender, "ann", name.to_owned(), "a.test".into());
        author.expect("an author")
    }

    #[test]
    fn the_sender_is_the_given_address_or_the_user() {
        for (written, sender, address) in [
            (None, "<ann@a.test>", "ann@a.test"),
            (Some("root"), "<root@a.test>", "root@a.test"),
            (Some("<bob@b.test>"), "<bob@b.test>", "bob@b.test"),
            (Some("Bob <bob@b.test>"), "<bob@b.test>", "bob@b.test"),
            (Some("<>"), "<>", "ann@a.test"),
            (Some(""), "<>", "ann@a.test"),
        ] {
            let author = author(written, "");
            assert_eq!(author.sender.to_string(), sender, "{written:?}");
            assert_eq!(author.address, address, "{written:?}");
        }
        let bad = Author::new(Some("a b@"), "ann", String::new(), "a.test".into());
        assert!(matches!(bad, Err(SendmailError::Address(..))), "{bad:?}");
    }

    #[test]
    fn a_full_sender_address_needs_no_hostname() {
        let unset = DefaultDomain::new(None);
        let author = Author::new(Some("bob@b.test"), "ann", String::new(), unset);
        let author = author.expect("an author");
        assert_eq!(author.domain, DefaultDomain::new(None), "it was looked up");
    }

    #[test]
    fn a_login_name_that_is_not_an_atom_is_quoted() {
        let of = |login| Author::new(None, login, String::new(), "a.test".into());
        for (login, sender) in [
            ("ann", "<ann@a.test>"),
            ("OFFICE\\ann b", "<\"OFFICE\\\\ann b\"@a.test>"),
            ("ann.", "<\"ann.\"@a.test>"),
        ] {
            assert_eq!(of(login).expect(login).sender.to_string(), sender);
        }
    }

    #[test]
    fn special_characters_in_a_name_are_quoted_or_encoded() {
        for (name, field) in [
            ("", "From: ann@a.test\r\n"),
            ("Ann Other", "From: Ann Other <ann@a.test>\r\n"),
            (
                "Ann (x) \"O\" \\",
                "From: \"Ann (x) \\\"O\\\" \\\\\" <ann@a.test>\r\n",
            ),
            (
                "A\r\nBcc: x@y.test",
                "From: \"ABcc: x@y.test\" <ann@a.test>\r\n",
            ),
            ("Jörg", "From: =?utf-8?b?SsO2cmc=?= <ann@a.test>\r\n"),
            (
                "=?utf-8?q?x?=",
                "From: =?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <ann@a.test>\r\n",
            ),
        ] {
            assert_eq!(author(None, name).author_field(), field);
        }
        let long = author(None, &"ö".repeat(100)).author_field();
        assert!(long.lines().all(|line| line.len() <= 78), "{long}");
    }

    #[test]
    fn the_full_name_is_the_first_part_of_the_gecos_field() {
        for (gecos, name) in [
            ("Ann Other,Room 1,,", "Ann Other"),
            ("& Other", "Ann Other"),
            ("", ""),
        ] {
            assert_eq!(full_name(gecos, "ann"), name);
        }
    }
}
