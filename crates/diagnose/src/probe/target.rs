//! The servers to probe.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use relay_remote::dns::{Dns, LookupError};
use relay_remote::{Config, preview_by_mx};
use relay_smtp::address::{is_domain, parse_literal};

const SMTP: u16 = 25;

/// The target that the operator has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One host with its port.
    Host(Host, u16),
    /// A domain, or a host that has no MX.
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

/// Why a text does not name a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host, HOST:PORT or a domain")]
pub(crate) struct TargetError;

/// Why a target has no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoEndpoint {
    /// The host has no address.
    #[error("{host}: {reason}")]
    NoAddress {
        /// The name of the host.
        host: String,
        /// Why it has none.
        reason: LookupError,
    },
    /// No MX host of the domain can be used.
    #[error("{}", .0.join("; "))]
    NoHost(Vec<String>),
}

/// A host at one of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The name of the host, or its address.
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some(address) = address(text) {
            return Ok(Self::Host(Host::Address(address), SMTP));
        }
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self::Host(Host::Address(socket.ip()), socket.port()));
        }
        let name = |name: &str| {
            let name = name.strip_suffix('.').unwrap_or(name);
            Some(name.to_owned()).filter(|name| is_domain(name))
        };
        match text.rsplit_once(':') {
            Some((host, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                let host = match address(host) {
                    Some(address) => Some(Host::Address(address)),
                    None => name(host).map(Host::Name),
                };
                host.zip(port)
                    .map(|(host, port)| Self::Host(host, port))
                    .ok_or(TargetError)
            }
            None => name(text).map(Self::Name).ok_or(TargetError),
        }
    }
}

fn address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let bare = inner.unwrap_or(text).parse().ok();
    bare.or_else(|| parse_literal(text))
}

impl Target {
    /// Returns the endpoints in the order in which they are tried, or why there are none.
    pub(crate) async fn endpoints(
        &self,
        dns: &Arc<Dns>,
        config: &Config,
    ) -> Result<Vec<Endpoint>, NoEndpoint> {
        match self {
            Self::Host(Host::Address(address), port) => Ok(vec![Endpoint {
                host: address.to_string(),
                address: (*address, *port).into(),
            }]),
            Self::Host(Host::Name(name), port) => of_host(name, *port, dns, config).await,
            Self::Name(name) => match dns.mx(name).await {
                // A name that the operator gives may be that of a host in the local network.
                Err(LookupError::NoRecords | LookupError::NoSuchName) => {
                    of_host(name, config.port, dns, config).await
                }
                _ => of_domain(name, dns, config).await,
            },
        }
    }
}

async fn of_host(
    name: &str,
    port: u16,
    dns: &Dns,
    config: &Config,
) -> Result<Vec<Endpoint>, NoEndpoint> {
    let found = dns.addresses_here(name, config.ip).await;
    let endpoint = |address| Endpoint {
        host: name.to_owned(),
        address: (address, port).into(),
    };
    match found {
        Ok(addresses) => Ok(addresses.into_iter().map(endpoint).collect()),
        Err(reason) => Err(NoEndpoint::NoAddress {
            host: name.to_owned(),
            reason,
        }),
    }
}

async fn of_domain(
    name: &str,
    dns: &Arc<Dns>,
    config: &Config,
) -> Result<Vec<Endpoint>, NoEndpoint> {
    let plan = preview_by_mx(config, dns, name).await;
    let mut problems: Vec<_> = plan.problem.into_iter().collect();
    let mut endpoints = Vec::new();
    for host in plan.hosts {
        problems.extend(host.problem.map(|why| format!("{}: {why}", host.name)));
        endpoints.extend(host.addresses.into_iter().map(|address| Endpoint {
            host: host.name.clone(),
            address,
        }));
    }
    if endpoints.is_empty() {
        return Err(NoEndpoint::NoHost(problems));
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_with_a_port_or_an_address_is_a_host() {
        let host = |name: &str, port| Target::Host(Host::Name(name.to_owned()), port);
        let at = |a: &str, port| Target::Host(Host::Address(a.parse().expect("one")), port);
        for (text, expected) in [
            ("dest.test", Target::Name("dest.test".to_owned())),
            ("dest.test.", Target::Name("dest.test".to_owned())),
            ("mx.test:2525", host("mx.test", 2525)),
            ("192.0.2.1", at("192.0.2.1", 25)),
            ("192.0.2.1:587", at("192.0.2.1", 587)),
            ("2001:db8::1", at("2001:db8::1", 25)),
            ("[2001:db8::1]", at("2001:db8::1", 25)),
            ("[2001:db8::1]:587", at("2001:db8::1", 587)),
            ("[IPv6:2001:db8::1]", at("2001:db8::1", 25)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "a b",
            "mx.test:",
            "mx.test:0",
            "mx.test:99999",
            "a@b.test",
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
