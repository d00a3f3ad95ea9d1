//! What a connection was made for.

use std::sync::Arc;

use crate::credentials::RouteCredentials;
use crate::policy::{Destination, TlsRule};

/// The terms of a connection. Another message may use it only on the same terms: it must not go out
/// in clear over what was opened for mail that may, nor as a user whose mail it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolKey {
    pub(crate) rule: TlsRule,
    /// The name in the certificate, where it is checked.
    name: Option<Arc<str>>,
    /// What the mail waits in line for, if that is a route.
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

    /// Who we are for the host, if it is to know.
    pub(crate) fn credentials(&self) -> Option<&Arc<RouteCredentials>> {
        self.credentials.as_ref()
    }
}
