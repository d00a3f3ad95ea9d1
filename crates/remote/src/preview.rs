//! Shows where mail would go without sending any, for `relayctl route`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use relay_smtp::{ForwardPath, ReversePath};

use crate::classify::{Cause, Hop, classify};
use crate::config::Config;
use crate::credentials::RouteCredentials;
use crate::dns::Dns;
use crate::mx::{self, Exchangers, Target};
use crate::policy::{AsConfigured, Destination, TlsPolicy, TlsRule};
use crate::route::{NextHop, Route, next_hop};

/// The next hop and the hosts for one sender and one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The destination in the queue.
    pub destination: Arc<str>,
    /// The reason for this next hop.
    pub by: DecidedBy,
    /// The credentials that the relay would use with the hosts.
    pub credentials: Option<Arc<RouteCredentials>>,
    /// The hosts in the order of attempts. Hosts of equal preference are shuffled each time.
    pub hosts: Vec<PreviewedHost>,
    /// The reason why there are no hosts.
    pub problem: Option<String>,
}

/// What decides the next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecidedBy {
    /// A route of the configuration.
    Route(Route),
    /// An address literal as the recipient's domain.
    Literal(IpAddr),
    /// The MX records of this domain.
    Mx(String),
}

/// A host that an attempt would try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewedHost {
    /// The host's name or address.
    pub name: String,
    /// The preference of its MX record.
    pub preference: Option<u16>,
    /// The port.
    pub port: u16,
    /// Its addresses in the order of attempts; empty if there is a problem.
    pub addresses: Vec<SocketAddr>,
    /// How strictly TLS would be used with it.
    pub tls: TlsRule,
    /// The reason why an attempt would skip it.
    pub problem: Option<String>,
}

/// Shows where mail would go with this configuration. It needs no running daemon.
pub async fn preview(config: &Config, sender: &ReversePath, recipient: &ForwardPath) -> Preview {
    let dns = Dns::new(&config.dns_servers);
    Preview::make(config, &dns, &AsConfigured, sender, recipient).await
}

/// Shows where a domain's mail would go by its MX records alone. It ignores the routes and needs no
/// running daemon.
pub async fn preview_by_mx(config: &Config, dns: &Arc<Dns>, domain: &str) -> Preview {
    let previewer = Previewer {
        config,
        dns,
        policy: &AsConfigured,
    };
    let mut preview = Preview {
        destination: domain.into(),
        by: DecidedBy::Mx(domain.to_owned()),
        credentials: None,
        hosts: Vec::new(),
        problem: None,
    };
    previewer.by_mx(domain, &mut preview).await;
    preview
}

impl Preview {
    pub(crate) async fn make(
        config: &Config,
        dns: &Arc<Dns>,
        policy: &dyn TlsPolicy,
        sender: &ReversePath,
        recipient: &ForwardPath,
    ) -> Self {
        let next = next_hop(&config.routes, &config.hostname, sender, recipient);
        let previewer = Previewer {
            config,
            dns,
            policy,
        };
        let mut preview = Self {
            destination: next.destination(),
            by: match &next {
                NextHop::Smarthost(route) => DecidedBy::Route((*route).clone()),
                NextHop::Literal(address) => DecidedBy::Literal(*address),
                NextHop::Mx(domain) => DecidedBy::Mx(domain.clone()),
            },
            credentials: None,
            hosts: Vec::new(),
            problem: None,
        };
        match next {
            NextHop::Smarthost(route) => {
                preview.credentials = route.credentials().cloned();
                preview.hosts = previewer.by_route(route).await;
            }
            NextHop::Literal(address) => {
                let (host, found) = (address.to_string(), mx::literal(address, config));
                let asked = Destination::Exchanger {
                    domain: &host,
                    host: &host,
                };
                preview.hosts = vec![previewer.host(asked, None, found).await];
            }
            NextHop::Mx(domain) => previewer.by_mx(&domain, &mut preview).await,
        }
        preview
    }
}

struct Previewer<'a> {
    config: &'a Config,
    dns: &'a Arc<Dns>,
    policy: &'a dyn TlsPolicy,
}

impl Previewer<'_> {
    async fn by_route(&self, route: &Route) -> Vec<PreviewedHost> {
        let mut hosts = Vec::new();
        for host in route.hosts() {
            let name = host.name();
            let found = mx::smarthost(self.dns, host, route.port(), self.config).await;
            let asked = Destination::Smarthost { route, host: &name };
            hosts.push(self.host(asked, None, found).await);
        }
        hosts
    }

    async fn by_mx(&self, domain: &str, preview: &mut Preview) {
        let mut exchangers = match Exchangers::of(self.dns, domain).await {
            Ok(exchangers) => exchangers,
            Err(cause) => return preview.problem = Some(text(cause)),
        };
        while let Some(group) = exchangers.next(self.dns, self.config).await {
            for (host, found) in group.hosts {
                let host = host.as_str();
                let asked = Destination::Exchanger { domain, host };
                preview
                    .hosts
                    .push(self.host(asked, group.preference, found).await);
            }
        }
    }

    async fn host(
        &self,
        asked: Destination<'_>,
        preference: Option<u16>,
        found: Result<Target, Cause>,
    ) -> PreviewedHost {
        let (name, port) = match asked {
            Destination::Exchanger { host, .. } => (host, self.config.port),
            Destination::Smarthost { route, host } => (host, route.port()),
        };
        let (addresses, problem) = match found {
            Ok(target) => (target.addresses, None),
            Err(cause) => (Vec::new(), Some(text(cause))),
        };
        PreviewedHost {
            name: name.to_owned(),
            preference,
            port,
            addresses,
            tls: self.policy.rule(asked).await,
            problem,
        }
    }
}

fn text(cause: Cause) -> String {
    classify(cause, Hop::Recipient, None).outcome.text()
}
