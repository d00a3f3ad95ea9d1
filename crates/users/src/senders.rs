//! Which senders a user may be.

use std::fmt;
use std::str::FromStr;

use relay_smtp::Mailbox;
use relay_smtp::address::is_domain;

/// `user@example.org`, or `*@example.org` for all of a domain's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Senders(Box<str>);

/// The text is neither an address nor all addresses of a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither an address, \"user@example.org\", nor all of a domain's, \"*@example.org\""
)]
pub struct SendersError(String);

impl Senders {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Senders {
    type Err = SendersError;

    fn from_str(text: &str) -> Result<Self, SendersError> {
        let is_pattern = match text.strip_prefix("*@") {
            Some(domain) => is_domain(domain),
            // A quoted local part could hold the tab that parts the fields.
            None => text.parse::<Mailbox>().is_ok() && !text.contains(char::is_control),
        };
        if is_pattern {
            Ok(Self(text.into()))
        } else {
            Err(SendersError(text.to_owned()))
        }
    }
}

impl fmt::Display for Senders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_all_of_a_domain() {
        for good in ["app@example.org", "*@example.org", "\"a b\"@example.org"] {
            assert_eq!(good.parse::<Senders>().expect(good).as_str(), good);
        }
        for bad in [
            "",
            "app",
            "@example.org",
            "*",
            "*@",
            "*@a b",
            "*.example.org",
            "\"a\tb\"@c",
        ] {
            assert_eq!(bad.parse::<Senders>(), Err(SendersError(bad.to_owned())));
        }
    }
}
