//! Which hosts accept mail for a domain, in the order of attempts (RFC 5321 §5.1).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::classify::Cause;
use crate::config::{Config, IpFamily};
use crate::dns::{Dns, LookupError, MxRecord};
use crate::route::RouteHost;

/// The most exchangers of one domain that are considered.
const MAX_EXCHANGERS: usize = 20;
/// The most addresses of one host that are tried.
const MAX_ADDRESSES: usize = 10;

/// A host and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The exchangers of a domain that are still untried, the best preference last.
#[derive(Debug)]
pub(crate) struct Exchangers {
    domain: String,
    /// Whether the domain has no MX and is its own exchanger.
    implicit: bool,
    groups: Vec<(u16, Vec<String>)>,
}

/// Exchangers of equal preference.
#[derive(Debug)]
pub(crate) struct Group {
    /// `None` for a domain without MX.
    pub(crate) preference: Option<u16>,
    /// Each host's name, with its addresses or the reason why it cannot be used.
    pub(crate) hosts: Vec<(String, Result<Target, Cause>)>,
}

impl Exchangers {
    /// Looks up the exchangers. Those of equal preference are shuffled to share the load.
    pub(crate) async fn of(dns: &Dns, domain: &str) -> Result<Self, Cause> {
        let (implicit, records) = match dns.mx(domain).await {
            Ok(records) => (false, records),
            // RFC 5321 §5.1: a domain without MX is its own exchanger.
            Err(LookupError::NoRecords) => {
                let host = domain.to_owned();
                (
                    true,
                    vec![MxRecord {
                        preference: 0,
                        host,
                        ttl: 0,
                    }],
                )
            }
            Err(error) => return Err(error.into_cause(domain)),
        };
        let usable: Vec<_> = records.into_iter().filter(|r| !r.host.is_empty()).collect();
        if usable.is_empty() {
            return Err(Cause::NullMx(domain.to_owned()));
        }
        Ok(Self {
            domain: domain.to_owned(),
            implicit,
            groups: by_preference(usable),
        })
    }

    /// The hosts of the next preference; `None` if none is left.
    ///
    /// If one of them is this relay, the list ends, and its equals are dropped as well: hosts of a
    /// worse preference would only send the mail back (RFC 5321 §5.1).
    pub(crate) async fn next(&mut self, dns: &Arc<Dns>, config: &Config) -> Option<Group> {
        let (preference, hosts) = self.groups.pop()?;
        let preference = Some(preference).filter(|_| !self.implicit);
        let own_name = hosts.iter().find(|host| config.is_own_name(host));
        if let Some(own) = own_name {
            return Some(self.ourselves(preference, own.clone()));
        }
        let found = resolve_all(dns, &hosts, config.ip).await;
        let leads_here = found.iter().position(|found| {
            let mut addresses = found.iter().flatten();
            addresses.any(|ip| config.is_own_address(SocketAddr::new(*ip, config.port)))
        });
        if let Some(own) = leads_here {
            return Some(self.ourselves(preference, hosts[own].clone()));
        }
        let targets = hosts.into_iter().zip(found);
        let hosts = targets.map(|(host, found)| (host.clone(), target(host, found, config)));
        Some(Group {
            preference,
            hosts: hosts.collect(),
        })
    }

    fn ourselves(&mut self, preference: Option<u16>, host: String) -> Group {
        self.groups.clear();
        Group {
            preference,
            hosts: vec![(host, Err(Cause::Loop(self.domain.clone())))],
        }
    }
}

/// The target for an address literal.
pub(crate) fn literal(address: IpAddr, config: &Config) -> Result<Target, Cause> {
    if config.is_own_address(SocketAddr::new(address, config.port)) {
        return Err(Cause::Loop(format!("[{address}]")));
    }
    target(address.to_string(), Ok(vec![address]), config)
}

/// The target for a smarthost. Only its address records count. Every address is allowed, because
/// the operator chose the host, except those that lead back to this relay.
pub(crate) async fn smarthost(
    dns: &Dns,
    host: &RouteHost,
    port: u16,
    config: &Config,
) -> Result<Target, Cause> {
    let found = match host {
        RouteHost::Address(address) => Ok(vec![*address]),
        RouteHost::Name(name) => dns.addresses_here(name, config.ip).await,
    };
    let host = host.name().into_owned();
    let mut addresses = found.map_err(|error| error.into_cause(&host))?;
    addresses.retain(|ip| !config.is_own_address(SocketAddr::new(*ip, port)));
    if addresses.is_empty() {
        return Err(Cause::Loop(host));
    }
    Ok(Target {
        host,
        addresses: in_turn(addresses, port),
    })
}

impl LookupError {
    fn into_cause(self, name: &str) -> Cause {
        let name = name.to_owned();
        match self {
            Self::NoSuchName => Cause::NoSuchName(name),
            Self::NoRecords => Cause::NoAddress(name),
            Self::Unavailable(why) => Cause::DnsUnavailable(name, why),
        }
    }
}

/// Groups of equal preference, the lowest preference last. Each group is in random order.
fn by_preference(mut records: Vec<MxRecord>) -> Vec<(u16, Vec<String>)> {
    fastrand::shuffle(&mut records);
    records.sort_by_key(|r| r.preference);
    records.truncate(MAX_EXCHANGERS);
    let mut groups: Vec<(u16, Vec<String>)> = records
        .chunk_by(|a, b| a.preference == b.preference)
        .map(|group| {
            let preference = group.first().map_or(0, |record| record.preference);
            let hosts = group.iter().map(|record| record.host.clone());
            (preference, hosts.collect())
        })
        .collect();
    groups.reverse();
    groups
}

/// Looks up the addresses of all hosts at the same time.
async fn resolve_all(
    dns: &Arc<Dns>,
    hosts: &[String],
    family: IpFamily,
) -> Vec<Result<Vec<IpAddr>, LookupError>> {
    if let [host] = hosts {
        return vec![dns.addresses(host, family).await];
    }
    let mut lookups = JoinSet::new();
    for (i, host) in hosts.iter().cloned().enumerate() {
        let dns = Arc::clone(dns);
        lookups.spawn(async move { (i, dns.addresses(&host, family).await) });
    }
    let lost = LookupError::Unavailable("the lookup was dropped".to_owned());
    let mut found = vec![Err(lost); hosts.len()];
    while let Some(done) = lookups.join_next().await {
        if let Ok((i, addresses)) = done {
            found[i] = addresses;
        }
    }
    found
}

fn target(
    host: String,
    found: Result<Vec<IpAddr>, LookupError>,
    config: &Config,
) -> Result<Target, Cause> {
    let addresses = match found {
        Ok(addresses) => addresses,
        // A missing MX host does not make the domain missing: it has no address (RFC 5321 §5.1).
        Err(LookupError::NoSuchName | LookupError::NoRecords) => {
            return Err(Cause::NoAddress(host));
        }
        Err(error) => return Err(error.into_cause(&host)),
    };
    let allowed: Vec<_> = addresses
        .into_iter()
        .filter(|a| !config.refuses(*a))
        .collect();
    if allowed.is_empty() {
        return Err(Cause::AddressRefused(host));
    }
    Ok(Target {
        host,
        addresses: in_turn(allowed, config.port),
    })
}

/// Shuffles the addresses of each family, and alternates IPv6 and IPv4. If one family does not
/// work, that costs at most every other try.
fn in_turn(mut addresses: Vec<IpAddr>, port: u16) -> Vec<SocketAddr> {
    fastrand::shuffle(&mut addresses);
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut mixed = Vec::new();
    loop {
        let before = mixed.len();
        mixed.extend(v6.next());
        mixed.extend(v4.next());
        if mixed.len() == before {
            break;
        }
    }
    mixed.truncate(MAX_ADDRESSES);
    mixed
        .into_iter()
        .map(|ip| SocketAddr::new(ip, port))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_preference_comes_first_and_equals_are_shuffled() {
        let record = |preference, host: &str| MxRecord {
            preference,
            host: host.to_owned(),
            ttl: 0,
        };
        let records = || {
            vec![
                record(20, "c"),
                record(10, "a"),
                record(30, "d"),
                record(10, "b"),
            ]
        };
        let mut firsts = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut groups = by_preference(records());
            let (preference, best) = groups.pop().expect("a group");
            assert_eq!((preference, best.len()), (10, 2));
            firsts.insert(best[0].clone());
            let others = [("d", 30), ("c", 20)].map(|(host, p)| (p, vec![host.to_owned()]));
            assert_eq!(groups, others);
        }
        assert_eq!(
            firsts.len(),
            2,
            "100 shuffles of two never change the order"
        );
    }

    #[test]
    fn families_take_turns() {
        let addresses = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"];
        let addresses = addresses.map(|a| a.parse().expect("an address"));
        let mixed = in_turn(addresses.into(), 25);
        let kinds: Vec<_> = mixed.iter().map(SocketAddr::is_ipv6).collect();
        assert_eq!(kinds, [true, false, false, false]);
    }
}
