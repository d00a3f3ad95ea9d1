//! Where mail would go, told without sending any: for `relayctl route`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use relay_smtp::{ForwardPath, ReversePath};

use crate::classify::{Finding, Hop, judge};
use crate::config::Config;
use crate::credentials::RouteCredentials;
use crate::dns::Dns;
use crate::mx::{self, Exchangers, Target};
use crate::policy::{AsConfigured, Destination, TlsPolicy, TlsRule};
use crate::route::{NextHop, Route, next_hop};

/// The decision for one sender and one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the mail would wait in line for.
    pub destination: Arc<str>,
    /// What decides.
    pub by: DecidedBy,
    /// Who we would be for the hosts.
    pub credentials: Option<Arc<RouteCredentials>>,
    /// The hosts in the order they would be tried; equal preferences are shuffled each time.
    pub hosts: Vec<PlannedHost>,
    /// Why there are no hosts.
    pub problem: Option<String>,
}

/// What decides where mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecidedBy {
    /// A route of the configuration.
    Route(Route),
    /// The recipient's domain is an address.
    Literal(IpAddr),
    /// The mail exchangers of this domain.
    Mx(String),
}

/// A host that would be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedHost {
    /// Its name, or its address.
    pub name: String,
    /// Of its MX record.
    pub preference: Option<u16>,
    /// The port.
    pub port: u16,
    /// Its addresses in an order in which they would be tried; empty if there is a problem.
    pub addresses: Vec<SocketAddr>,
    /// How it would be spoken with.
    pub tls: TlsRule,
    /// Why it would be passed over.
    pub problem: Option<String>,
}

/// Where mail would go by this configuration, without a daemon.
pub async fn plan(config: &Config, sender: &ReversePath, recipient: &ForwardPath) -> Plan {
    let dns = Dns::new(&config.dns_servers);
    Plan::make(config, &dns, &AsConfigured, sender, recipient).await
}

/// Where a domain's mail would go by its MX, whatever the routes say, without a daemon.
pub async fn plan_by_mx(config: &Config, dns: &Arc<Dns>, domain: &str) -> Plan {
    let planner = Planner {
        config,
        dns,
        policy: &AsConfigured,
    };
    let mut plan = Plan {
        destination: domain.into(),
        by: DecidedBy::Mx(domain.to_owned()),
        credentials: None,
        hosts: Vec::new(),
        problem: None,
    };
    planner.by_mx(domain, &mut plan).await;
    plan
}

impl Plan {
    pub(crate) async fn make(
        config: &Config,
        dns: &Arc<Dns>,
        policy: &dyn TlsPolicy,
        sender: &ReversePath,
        recipient: &ForwardPath,
    ) -> Self {
        let next = next_hop(config, sender, recipient);
        let planner = Planner {
            config,
            dns,
            policy,
        };
        let mut plan = Self {
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
                plan.credentials = route.credentials().cloned();
                plan.hosts = planner.by_route(route).await;
            }
            NextHop::Literal(address) => {
                let (host, found) = (address.to_string(), mx::literal(address, config));
                let asked = Destination::Exchanger {
                    domain: &host,
                    host: &host,
                };
                plan.hosts = vec![planner.host(asked, None, found).await];
            }
            NextHop::Mx(domain) => planner.by_mx(&domain, &mut plan).await,
        }
        plan
    }
}

struct Planner<'a> {
    config: &'a Config,
    dns: &'a Arc<Dns>,
    policy: &'a dyn TlsPolicy,
}

impl Planner<'_> {
    async fn by_route(&self, route: &Route) -> Vec<PlannedHost> {
        let mut hosts = Vec::new();
        for host in route.hosts() {
            let name = host.name();
            let found = mx::smarthost(self.dns, host, route.port(), self.config).await;
            let asked = Destination::Smarthost { route, host: &name };
            hosts.push(self.host(asked, None, found).await);
        }
        hosts
    }

    async fn by_mx(&self, domain: &str, plan: &mut Plan) {
        let mut exchangers = match Exchangers::of(self.dns, domain).await {
            Ok(exchangers) => exchangers,
            Err(finding) => return plan.problem = Some(text(finding)),
        };
        while let Some(group) = exchangers.next(self.dns, self.config).await {
            for (host, found) in group.hosts {
                let host = host.as_str();
                let asked = Destination::Exchanger { domain, host };
                plan.hosts
                    .push(self.host(asked, group.preference, found).await);
            }
        }
    }

    async fn host(
        &self,
        asked: Destination<'_>,
        preference: Option<u16>,
        found: Result<Target, Finding>,
    ) -> PlannedHost {
        let (name, port) = match asked {
            Destination::Exchanger { host, .. } => (host, self.config.port),
            Destination::Smarthost { route, host } => (host, route.port()),
        };
        let (addresses, problem) = match found {
            Ok(target) => (target.addresses, None),
            Err(finding) => (Vec::new(), Some(text(finding))),
        };
        PlannedHost {
            name: name.to_owned(),
            preference,
            port,
            addresses,
            tls: self.policy.rule(asked).await,
            problem,
        }
    }
}

fn text(finding: Finding) -> String {
    judge(finding, Hop::Recipient, None).outcome.text()
}
