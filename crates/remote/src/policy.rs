//! How strictly each host is spoken with: the one place that decides about TLS.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;

use crate::route::{Route, RouteTls};

/// What is demanded of a host before it gets mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsRule {
    /// Clear text, whatever is offered.
    Clear,
    /// STARTTLS if it is offered, with any certificate. If that breaks, clear text; the host is
    /// then spoken with in clear for an hour.
    Opportunistic,
    /// STARTTLS, and the certificate is the host's.
    Verified,
    /// TLS from the first octet (RFC 8314), and the certificate is the host's.
    VerifiedFromTheStart,
}

impl TlsRule {
    /// Whether the host's certificate must be its own.
    pub fn is_verified(self) -> bool {
        match self {
            Self::Verified | Self::VerifiedFromTheStart => true,
            Self::Clear | Self::Opportunistic => false,
        }
    }
}

impl From<RouteTls> for TlsRule {
    fn from(tls: RouteTls) -> Self {
        match tls {
            RouteTls::Require => Self::Verified,
            RouteTls::Opportunistic => Self::Opportunistic,
            RouteTls::Implicit => Self::VerifiedFromTheStart,
            RouteTls::None => Self::Clear,
        }
    }
}

/// A host that mail is about to go to, and why to this one.
#[derive(Debug, Clone, Copy)]
pub enum Destination<'a> {
    /// A mail exchanger, or a domain or address literal that is its own.
    Exchanger {
        /// Of this domain, in lower case.
        domain: &'a str,
        /// The host's name.
        host: &'a str,
    },
    /// A host of a route.
    Smarthost {
        /// The route.
        route: &'a Route,
        /// The host's name, or its address.
        host: &'a str,
    },
}

/// Asked for each host before it is connected to. DANE and MTA-STS are policies that look up more.
pub trait TlsPolicy: fmt::Debug + Send + Sync {
    /// What is demanded of this host.
    fn rule<'a>(
        &'a self,
        destination: Destination<'a>,
    ) -> Pin<Box<dyn Future<Output = TlsRule> + Send + 'a>>;
}

/// Exchangers get TLS if they can, hosts of a route as the route says.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsConfigured;

impl TlsPolicy for AsConfigured {
    fn rule<'a>(
        &'a self,
        destination: Destination<'a>,
    ) -> Pin<Box<dyn Future<Output = TlsRule> + Send + 'a>> {
        Box::pin(ready(match destination {
            Destination::Exchanger { .. } => TlsRule::Opportunistic,
            Destination::Smarthost { route, .. } => route.tls().into(),
        }))
    }
}
