//! Where a recipient's mail goes by the configuration: a smarthost, an address literal, or MX.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use relay_smtp::address::{is_domain, parse_literal};
use relay_smtp::{ForwardPath, ReversePath};

use crate::config::Config;

/// Why a route cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The domain is no domain, `.suffix` or `*`.
    #[error("bad domain {0:?}: write \"example.org\", \".example.org\" or \"*\"")]
    Domain(String),
    /// A host is no name and no address.
    #[error("bad host {0:?}: write a name, an address or [address]")]
    Host(String),
    /// No host at all.
    #[error("a route needs a host")]
    NoHost,
}

/// A smarthost for some domains (qmail's `smtproutes`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    domain: DomainPattern,
    hosts: Vec<RouteHost>,
    port: u16,
    name: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DomainPattern {
    Any,
    Exact(String),
    /// With its leading dot.
    Suffix(String),
}

/// A host of a route; used without MX lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteHost {
    /// Looked up at every attempt.
    Name(String),
    /// Used as it is.
    Address(IpAddr),
}

impl Route {
    /// A route for `domain` (`example.org`, `.example.org` for all below it, `*`) over `hosts`, tried
    /// in this order.
    pub fn new<H: AsRef<str>>(
        domain: &str,
        hosts: impl IntoIterator<Item = H>,
        port: u16,
    ) -> Result<Self, RouteError> {
        let hosts: Vec<RouteHost> = hosts
            .into_iter()
            .map(|h| RouteHost::parse(h.as_ref()))
            .collect::<Result<_, _>>()?;
        if hosts.is_empty() {
            return Err(RouteError::NoHost);
        }
        let names: Vec<String> = hosts.iter().map(|h| h.name().into_owned()).collect();
        Ok(Self {
            domain: DomainPattern::parse(domain)?,
            name: format!("{}:{port}", names.join(",")).into(),
            hosts,
            port,
        })
    }

    /// The hosts, in the order to try them.
    pub fn hosts(&self) -> &[RouteHost] {
        &self.hosts
    }

    /// The port of all its hosts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What its mail waits in line for: `smtp.example.com:587`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl RouteHost {
    fn parse(text: &str) -> Result<Self, RouteError> {
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let address = inner.unwrap_or(text).parse().ok();
        match address.or_else(|| parse_literal(text)) {
            Some(address) => Ok(Self::Address(address)),
            None if is_domain(text) => Ok(Self::Name(text.to_owned())),
            None => Err(RouteError::Host(text.to_owned())),
        }
    }

    /// The host as the operator wrote it, without brackets.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Address(address) => Cow::Owned(address.to_string()),
        }
    }
}

impl DomainPattern {
    fn parse(text: &str) -> Result<Self, RouteError> {
        let text = text.to_lowercase();
        match text.strip_prefix('.') {
            None if text == "*" => Ok(Self::Any),
            Some(suffix) if is_domain(suffix) => Ok(Self::Suffix(text)),
            None if is_domain(&text) || parse_literal(&text).is_some() => Ok(Self::Exact(text)),
            _ => Err(RouteError::Domain(text)),
        }
    }

    /// `domain` in lower case.
    fn matches(&self, domain: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == domain,
            Self::Suffix(suffix) => domain.ends_with(suffix.as_str()),
        }
    }
}

/// Where a recipient's mail goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHop<'a> {
    /// Through the operator's smarthost.
    Smarthost(&'a Route),
    /// To the address that the recipient's domain is.
    Literal(IpAddr),
    /// To the mail exchangers of this domain, in lower case.
    Mx(String),
}

impl NextHop<'_> {
    /// What mail that goes this way waits in line for.
    pub fn destination(&self) -> Arc<str> {
        match self {
            Self::Smarthost(route) => Arc::clone(route.name()),
            Self::Literal(address) => format!("[{address}]").into(),
            Self::Mx(domain) => domain.as_str().into(),
        }
    }
}

/// The one decision where mail goes, for deliveries and for whoever asks in advance.
///
/// `_sender`: routes by sender will look at it. `<postmaster>` without a domain is at our own name.
pub fn next_hop<'a>(
    config: &'a Config,
    _sender: &ReversePath,
    recipient: &ForwardPath,
) -> NextHop<'a> {
    let domain = match recipient {
        ForwardPath::Postmaster => config.hostname.to_lowercase(),
        ForwardPath::Mailbox(mailbox) => mailbox.domain().to_lowercase(),
    };
    if let Some(route) = config.routes.iter().find(|r| r.domain.matches(&domain)) {
        return NextHop::Smarthost(route);
    }
    match parse_literal(&domain) {
        Some(address) => NextHop::Literal(address),
        None => NextHop::Mx(domain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let route = |domain, host| Route::new(domain, [host], 25).expect("a route");
        Config {
            hostname: "relay.test".to_owned(),
            routes: vec![
                route("exact.test", "one"),
                route(".below.test", "two"),
                route("[192.0.2.9]", "three"),
            ],
            ..Config::default()
        }
    }

    fn destination(config: &Config, recipient: &str) -> String {
        let recipient = recipient.parse().expect("a recipient");
        next_hop(config, &ReversePath::Null, &recipient)
            .destination()
            .to_string()
    }

    #[test]
    fn the_first_route_that_matches_wins_else_mx() {
        let mut config = config();
        for (recipient, expected) in [
            ("u@exact.test", "one:25"),
            ("u@EXACT.Test", "one:25"),
            ("u@sub.exact.test", "sub.exact.test"),
            ("u@a.below.test", "two:25"),
            ("u@a.b.below.test", "two:25"),
            ("u@below.test", "below.test"),
            ("u@notbelow.test", "notbelow.test"),
            ("u@[192.0.2.9]", "three:25"),
            ("u@[192.0.2.8]", "[192.0.2.8]"),
            ("u@[IPv6:2001:db8::1]", "[2001:db8::1]"),
            ("u@Other.Test", "other.test"),
            ("postmaster", "relay.test"),
        ] {
            assert_eq!(destination(&config, recipient), expected, "{recipient}");
        }
        let all = Route::new("*", ["smart.test", "[192.0.2.1]"], 587).expect("a route");
        config.routes.push(all);
        assert_eq!(
            destination(&config, "u@any.test"),
            "smart.test,192.0.2.1:587"
        );
        assert_eq!(destination(&config, "u@exact.test"), "one:25");
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        let hosts = [
            "a.test",
            "192.0.2.1",
            "[192.0.2.2]",
            "2001:db8::1",
            "[2001:db8::2]",
            "[IPv6:2001:db8::3]",
        ];
        let route = Route::new("*", hosts, 25).expect("a route");
        let names: Vec<_> = route.hosts().iter().map(RouteHost::name).collect();
        assert_eq!(
            names,
            [
                "a.test",
                "192.0.2.1",
                "192.0.2.2",
                "2001:db8::1",
                "2001:db8::2",
                "2001:db8::3"
            ]
        );
        assert!(
            route.hosts()[1..]
                .iter()
                .all(|h| matches!(h, RouteHost::Address(_)))
        );
    }

    #[test]
    fn other_routes_are_refused() {
        for (domain, host, error) in [
            ("a b", "h", RouteError::Domain("a b".into())),
            ("", "h", RouteError::Domain(String::new())),
            (".", "h", RouteError::Domain(".".into())),
            ("*.test", "h", RouteError::Domain("*.test".into())),
            ("*", "h:25", RouteError::Host("h:25".into())),
            ("*", "", RouteError::Host(String::new())),
        ] {
            assert_eq!(Route::new(domain, [host], 25), Err(error));
        }
        assert_eq!(Route::new::<&str>("*", [], 25), Err(RouteError::NoHost));
    }
}
