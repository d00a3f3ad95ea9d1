//! The next hop of a recipient's mail: a smarthost, an address literal, or the MX.

pub(crate) mod error;
mod host;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use relay_smtp::address::parse_literal;
use relay_smtp::sasl::UserName;
use relay_smtp::{ForwardPath, ReversePath};

pub use self::error::RouteError;
pub use self::host::RouteHost;

use crate::credentials::RouteCredentials;
use relay_smtp::pattern::{DomainPattern, SenderPattern};

/// A smarthost for some domains or senders (qmail's `smtproutes`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    domain: DomainPattern,
    sender: Option<SenderPattern>,
    hosts: Vec<RouteHost>,
    port: u16,
    tls: RouteTls,
    credentials: Option<Arc<RouteCredentials>>,
    name: Arc<str>,
}

/// The `tls` setting of a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RouteTls {
    /// STARTTLS with a verified certificate. Without it, nothing is sent.
    Require,
    /// STARTTLS with any certificate if the host offers it, otherwise clear text.
    #[default]
    Opportunistic,
    /// TLS from the first octet (port 465, RFC 8314) with a verified certificate.
    Implicit,
    /// Clear text.
    None,
}

impl Route {
    /// Creates a route for `domain`: `example.org`, `.example.org` for all domains below it, or
    /// `*`. The `hosts` are tried in this order. The route is for all senders and uses
    /// opportunistic TLS and no credentials.
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
        Ok(Self {
            domain: domain
                .parse()
                .map_err(|_| RouteError::Domain(domain.to_owned()))?,
            sender: None,
            name: name(None, &hosts, port),
            hosts,
            port,
            tls: RouteTls::default(),
            credentials: None,
        })
    }

    /// Limits the route to mail from these senders.
    #[must_use]
    pub fn with_sender(self, sender: SenderPattern) -> Self {
        Self {
            sender: Some(sender),
            ..self
        }
    }

    /// Sets the use of TLS, and the credentials if the hosts require them.
    ///
    /// A route with credentials is a destination of its own, so that a rejected login delays no
    /// other mail.
    pub fn with_tls(
        self,
        tls: RouteTls,
        credentials: Option<RouteCredentials>,
    ) -> Result<Self, RouteError> {
        let Some(credentials) = credentials else {
            return Ok(Self {
                name: name(None, &self.hosts, self.port),
                credentials: None,
                tls,
                ..self
            });
        };
        if tls == RouteTls::None && !self.hosts.iter().all(RouteHost::is_loopback) {
            return Err(RouteError::CredentialsInClear);
        }
        Ok(Self {
            name: name(Some(credentials.username()), &self.hosts, self.port),
            credentials: Some(Arc::new(credentials)),
            // Opportunistic TLS accepts an attacker's certificate, and the attacker would get the
            // password.
            tls: match tls {
                RouteTls::Opportunistic => RouteTls::Require,
                _ => tls,
            },
            ..self
        })
    }

    /// Whether this mail uses the route. `domain` is in lower case.
    fn is_for(&self, sender: &ReversePath, domain: &str) -> bool {
        self.domain.matches(domain) && self.sender.as_ref().is_none_or(|s| s.matches(sender))
    }

    /// Whether all mail that no route before it takes uses this route.
    pub fn takes_all(&self) -> bool {
        self.sender.is_none() && self.domain.is_any()
    }

    /// The hosts in the order of attempts.
    pub fn hosts(&self) -> &[RouteHost] {
        &self.hosts
    }

    /// The port of all hosts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How strictly TLS is used with the hosts. A route with credentials never returns
    /// [`RouteTls::Opportunistic`] but [`RouteTls::Require`] instead.
    pub fn tls(&self) -> RouteTls {
        self.tls
    }

    /// The credentials for the hosts.
    pub fn credentials(&self) -> Option<&Arc<RouteCredentials>> {
        self.credentials.as_ref()
    }

    /// The name of the destination: `smtp.example.com:587`, `user@smtp.example.com:587`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

fn name(user: Option<&UserName>, hosts: &[RouteHost], port: u16) -> Arc<str> {
    let hosts: Vec<_> = hosts.iter().map(RouteHost::name).collect();
    let hosts = hosts.join(",");
    match user {
        Some(user) => format!("{user}@{hosts}:{port}").into(),
        None => format!("{hosts}:{port}").into(),
    }
}

/// Writes the conditions as in the configuration: `domain = "*", sender = "*@shop.example"`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "domain = \"{}\"", self.domain)?;
        match &self.sender {
            Some(sender) => write!(f, ", sender = \"{sender}\""),
            None => Ok(()),
        }
    }
}

impl RouteTls {
    /// The name of the setting in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Opportunistic => "opportunistic",
            Self::Implicit => "implicit",
            Self::None => "none",
        }
    }
}

/// The next hop of a recipient's mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHop<'a> {
    /// The smarthost of a route.
    Smarthost(&'a Route),
    /// The address in the recipient's address literal.
    Literal(IpAddr),
    /// The mail exchangers of this domain, in lower case.
    Mx(String),
}

impl NextHop<'_> {
    /// The name of the destination in the queue.
    pub fn destination(&self) -> Arc<str> {
        match self {
            Self::Smarthost(route) => Arc::clone(route.name()),
            Self::Literal(address) => format!("[{address}]").into(),
            Self::Mx(domain) => domain.as_str().into(),
        }
    }
}

/// Decides the next hop, for deliveries and for previews.
///
/// `<postmaster>` without a domain belongs to `hostname`.
pub fn next_hop<'a>(
    routes: &'a [Route],
    hostname: &str,
    sender: &ReversePath,
    recipient: &ForwardPath,
) -> NextHop<'a> {
    let domain = match recipient {
        ForwardPath::Postmaster => hostname.to_lowercase(),
        ForwardPath::Mailbox(mailbox) => mailbox.domain().to_lowercase(),
    };
    if let Some(route) = routes.iter().find(|r| r.is_for(sender, &domain)) {
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
    use crate::credentials::SecretSource;

    const HOSTNAME: &str = "relay.test";

    fn routes() -> Vec<Route> {
        let route = |domain, host| Route::new(domain, [host], 25).expect("a route");
        vec![
            route("exact.test", "one"),
            route(".below.test", "two"),
            route("[192.0.2.9]", "three"),
        ]
    }

    fn destination(routes: &[Route], recipient: &str) -> String {
        let recipient = recipient.parse().expect("a recipient");
        next_hop(routes, HOSTNAME, &ReversePath::Null, &recipient)
            .destination()
            .to_string()
    }

    #[test]
    fn the_first_matching_route_wins_otherwise_the_mx() {
        let mut routes = routes();
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
            assert_eq!(destination(&routes, recipient), expected, "{recipient}");
        }
        let all = Route::new("*", ["smart.test", "[192.0.2.1]"], 587).expect("a route");
        routes.push(all);
        assert_eq!(
            destination(&routes, "u@any.test"),
            "smart.test,192.0.2.1:587"
        );
        assert_eq!(destination(&routes, "u@exact.test"), "one:25");
    }

    #[test]
    fn a_route_by_sender_does_not_match_other_senders() {
        let by_sender = Route::new("*", ["shop"], 587).expect("a route");
        let by_sender = by_sender.with_sender("*@shop.test".parse().expect("a pattern"));
        let mut routes = routes();
        routes.insert(0, by_sender);
        let recipient = "u@exact.test".parse().expect("a recipient");
        let to = |sender: &str| {
            let sender = sender.parse().expect("a sender");
            next_hop(&routes, HOSTNAME, &sender, &recipient).destination()
        };
        assert_eq!(&*to("news@shop.test"), "shop:587");
        assert_eq!(&*to("a@other.test"), "one:25");
        assert_eq!(&*to(""), "one:25");
    }

    fn with_credentials(host: &str, tls: RouteTls) -> Result<Route, RouteError> {
        let source = SecretSource::PasswordFile("/no/such/file".into());
        let credentials = RouteCredentials::new("user", source).expect("credentials");
        Route::new("*", [host], 587)?.with_tls(tls, Some(credentials))
    }

    #[test]
    fn credentials_leave_this_machine_only_over_verified_tls() {
        for (tls, expected) in [
            (RouteTls::Require, RouteTls::Require),
            (RouteTls::Opportunistic, RouteTls::Require),
            (RouteTls::Implicit, RouteTls::Implicit),
        ] {
            let route = with_credentials("smart.test", tls).expect("a route");
            assert_eq!(route.tls(), expected);
            assert_eq!(&**route.name(), "user@smart.test:587");
        }
        let route = with_credentials("smart.test", RouteTls::Require).expect("a route");
        let without = route.with_tls(RouteTls::None, None).expect("a route");
        assert_eq!(
            (without.credentials(), &**without.name()),
            (None, "smart.test:587")
        );
        for host in ["127.0.0.1", "[::1]", "::ffff:127.0.0.1"] {
            let route = with_credentials(host, RouteTls::None).expect("a route");
            assert_eq!(route.tls(), RouteTls::None);
        }
        for host in ["192.0.2.1", "smart.test", "localhost"] {
            let refused = with_credentials(host, RouteTls::None);
            assert_eq!(refused, Err(RouteError::CredentialsInClear), "{host}");
        }
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
