//! Which deliveries may reuse a connection.

use std::sync::Arc;

use crate::credentials::RouteCredentials;
use crate::policy::{Destination, TlsRule};

/// The properties of a connection that must match before another message may use it. A message that
/// requires TLS must not use a connection in clear text, and no message may use another user's
/// login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolKey {
    pub(crate) rule: TlsRule,
    /// The name in the certificate, if it is verified.
    name: Option<Arc<str>>,
    /// The name of the route, if the host is a smarthost.
    route: Option<Arc<str>>,
    credentials: Option<Arc<RouteCredentials>>,
}

impl PoolKey {
    pub(crate) fn new(destination: Destination<'_>, rule: TlsRule) -> Self {
        let (host, route) = match destination {
            Destination::Exchanger { host, .. } => (host, None),
            Destination::Smarthost { route, host } => (host, Some(route)),
        };
        Self {
            rule,
            name: rule.is_verified().then(|| host.to_lowercase().into()),
            route: route.map(|r| Arc::clone(r.name())),
            credentials: route.and_then(|r| r.credentials().cloned()),
        }
    }

    /// The credentials for the host, if it needs any.
    pub(crate) fn credentials(&self) -> Option<&Arc<RouteCredentials>> {
        self.credentials.as_ref()
    }
}
