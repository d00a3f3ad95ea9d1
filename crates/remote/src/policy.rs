//! How strictly TLS is used with each host. This is the only place that decides about TLS.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;

use crate::route::{Route, RouteTls};

/// What a host must offer before it gets mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsRule {
    /// Clear text, even if the host offers STARTTLS.
    Clear,
    /// STARTTLS if it is offered, with any certificate. If TLS fails, the host gets mail in clear
    /// text for an hour.
    Opportunistic,
    /// STARTTLS with a certificate that is valid for the host's name.
    Verified,
    /// TLS from the first octet (RFC 8314) with a certificate that is valid for the host's name.
    VerifiedFromTheStart,
}

impl TlsRule {
    /// Whether the certificate must be valid for the host's name.
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

/// A host that is about to get mail, and how it was found.
#[derive(Debug, Clone, Copy)]
pub enum Destination<'a> {
    /// A mail exchanger, or a domain or address literal that is its own exchanger.
    Exchanger {
        /// The domain whose mail it accepts, in lower case.
        domain: &'a str,
        /// The host's name.
        host: &'a str,
    },
    /// A host of a route.
    Smarthost {
        /// The route.
        route: &'a Route,
        /// The host's name or address.
        host: &'a str,
    },
}

/// Decides for each host before a connection is made. DANE and MTA-STS can be added as further
/// policies.
pub trait TlsPolicy: fmt::Debug + Send + Sync {
    /// The TLS rule for this host.
    fn rule<'a>(
        &'a self,
        destination: Destination<'a>,
    ) -> Pin<Box<dyn Future<Output = TlsRule> + Send + 'a>>;
}

/// Uses opportunistic TLS for exchangers, and the route's setting for smarthosts.
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
