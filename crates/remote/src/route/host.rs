//! A host of a route.

use std::borrow::Cow;
use std::net::IpAddr;

use relay_smtp::address::{is_domain, parse_literal};

use super::error::RouteError;

/// A host of a route. There is no MX lookup for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteHost {
    /// A name that is looked up at every attempt.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl RouteHost {
    pub(super) fn parse(text: &str) -> Result<Self, RouteError> {
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let address = inner.unwrap_or(text).parse().ok();
        match address.or_else(|| parse_literal(text)) {
            Some(address) => Ok(Self::Address(address)),
            None if is_domain(text) => Ok(Self::Name(text.to_owned())),
            None => Err(RouteError::Host(text.to_owned())),
        }
    }

    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.to_canonical().is_loopback(),
            Self::Name(_) => false,
        }
    }

    /// The host as in the configuration, without brackets.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Address(address) => Cow::Owned(address.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        for (text, name, is_address) in [
            ("a.test", "a.test", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("[192.0.2.2]", "192.0.2.2", true),
            ("2001:db8::1", "2001:db8::1", true),
            ("[2001:db8::2]", "2001:db8::2", true),
            ("[IPv6:2001:db8::3]", "2001:db8::3", true),
        ] {
            let host = RouteHost::parse(text).expect("a host");
            assert_eq!(host.name(), name);
            assert_eq!(matches!(host, RouteHost::Address(_)), is_address);
        }
    }
}
