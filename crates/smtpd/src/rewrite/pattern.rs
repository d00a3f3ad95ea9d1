//! Whom a rule is about.

use std::str::FromStr;

use relay_smtp::Mailbox;

use crate::relay::DomainPattern;

/// `user@example.org`; `*` is anybody or anywhere, `.example.org` any domain below that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPattern {
    /// Anybody, if there is none.
    local_part: Option<Box<str>>,
    /// Anywhere, if there is none.
    domain: Option<DomainPattern>,
}

/// The text is no such pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address such as \"user@example.org\", \"root@*\" or \"*@.example.org\"")]
pub struct AddressPatternError(String);

impl AddressPattern {
    /// Whether this address is meant, whatever its case.
    pub fn matches(&self, mailbox: &Mailbox) -> bool {
        let is_who = |local: &str| mailbox.local_part().eq_ignore_ascii_case(local);
        let is_there = |domain: &DomainPattern| domain.matches(mailbox.domain());
        self.local_part.as_deref().is_none_or(is_who) && self.domain.as_ref().is_none_or(is_there)
    }
}

impl FromStr for AddressPattern {
    type Err = AddressPatternError;

    fn from_str(text: &str) -> Result<Self, AddressPatternError> {
        let error = || AddressPatternError(text.to_owned());
        let (local_part, domain) = text.rsplit_once('@').ok_or_else(error)?;
        let domain = match domain {
            "*" => None,
            domain => Some(domain.parse().map_err(|_| error())?),
        };
        let local_part = match local_part {
            "*" => None,
            local => {
                // A local part is good if it makes a good address.
                let made: Result<Mailbox, _> = format!("{local}@example.org").parse();
                Some(made.map_err(|_| error())?.local_part().into())
            }
        };
        Ok(Self { local_part, domain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anybody_or_anywhere() {
        for (pattern, address, matches) in [
            ("root@*", "root@a.test", true),
            ("root@*", "Root@b.test", true),
            ("root@*", "root@[192.0.2.1]", true),
            ("root@*", "toor@a.test", false),
            ("root@a.test", "root@A.TEST", true),
            ("root@a.test", "root@b.a.test", false),
            ("*@a.test", "anybody@a.test", true),
            ("*@a.test", "anybody@b.test", false),
            ("*@.a.test", "anybody@b.a.test", true),
            ("*@.a.test", "anybody@a.test", false),
            ("*@*", "anybody@a.test", true),
            ("\"a b\"@*", "\"a b\"@a.test", true),
            ("a*@*", "ab@a.test", false),
        ] {
            let parsed: AddressPattern = pattern.parse().expect(pattern);
            let address = address.parse().expect(address);
            assert_eq!(parsed.matches(&address), matches, "{pattern} {address}");
        }
        for text in [
            "",
            "root",
            "@a.test",
            "root@",
            "a b@*",
            "a@*.test",
            "a@b@*",
            "root@[192.0.2.1]",
        ] {
            assert!(text.parse::<AddressPattern>().is_err(), "{text:?}");
        }
    }
}
