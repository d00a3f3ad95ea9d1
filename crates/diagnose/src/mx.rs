//! Lists the hosts that accept mail for a domain.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use relay_remote::dns::Dns;
use relay_remote::{Config, PreviewedHost, preview_by_mx};
use relay_smtp::address::is_domain;
use relay_terminal::{escape, print_json};
use serde::Serialize;

use crate::config::ConfigFile;
use crate::delivery_settings::{self, DnsArgs};
use crate::error::Error;

/// The arguments of `mx`.
#[derive(Debug, Args)]
pub struct MxArgs {
    /// A domain, or an email address in it
    #[arg(value_parser = domain)]
    domain: String,

    #[command(flatten)]
    dns: DnsArgs,
}

/// Returns the part of an address after its last @, or the whole text if it is a domain.
pub(crate) fn domain(text: &str) -> Result<String, NotADomain> {
    let domain = text.rsplit('@').next().unwrap_or(text);
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if is_domain(domain) {
        Ok(domain.to_owned())
    } else {
        Err(NotADomain)
    }
}

/// The error for an argument that names no domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a domain")]
pub(crate) struct NotADomain;

/// The mail exchangers of a domain.
#[derive(Debug, Serialize)]
pub(crate) struct Exchangers {
    pub(crate) domain: String,
    /// The hosts in the order in which they would be tried. Hosts with equal preference are
    /// shuffled each time.
    pub(crate) hosts: Vec<Exchanger>,
    /// Why there are no hosts.
    pub(crate) problem: Option<String>,
}

/// One mail exchanger.
#[derive(Debug, Serialize)]
pub(crate) struct Exchanger {
    pub(crate) name: String,
    /// The preference. `None` for a domain without MX records, which is its own exchanger.
    pub(crate) preference: Option<u16>,
    /// The TTL of the MX record in seconds.
    pub(crate) ttl: Option<u32>,
    /// The addresses in an order in which they would be tried.
    pub(crate) addresses: Vec<ExchangerAddress>,
    /// Why the host would be skipped.
    pub(crate) problem: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ExchangerAddress {
    pub(crate) address: SocketAddr,
    /// The TTL of the address record in seconds.
    pub(crate) ttl: Option<u32>,
}

/// Looks up the hosts and prints them. Returns [`Error::Refused`] if there is none.
pub async fn run(
    args: &MxArgs,
    config: &ConfigFile,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let config = delivery_settings::settings(config, &args.dns)?;
    let dns = Dns::new(&config.dns_servers);
    let found = look_up(&config, &dns, &args.domain).await;
    if json {
        print_json(out, &found).map_err(Error::Output)?;
    } else {
        show(out, &found).map_err(Error::Output)?;
    }
    out.flush().map_err(Error::Output)?;
    match found.problem {
        Some(problem) => Err(Error::Refused(escape(&problem))),
        None if found.hosts.iter().all(|host| host.addresses.is_empty()) => Err(Error::Refused(
            format!("{}: none of its hosts can be used", found.domain),
        )),
        None => Ok(()),
    }
}

async fn look_up(config: &Config, dns: &Arc<Dns>, domain: &str) -> Exchangers {
    let plan = preview_by_mx(config, dns, domain).await;
    // The resolver has cached the records of the plan.
    let records = dns.mx(domain).await.unwrap_or_default();
    let mut hosts = Vec::new();
    for host in plan.hosts {
        let record = records.iter().find(|record| record.host == host.name);
        let ttl = record.map(|record| record.ttl);
        hosts.push(exchanger(config, dns, host, ttl).await);
    }
    Exchangers {
        domain: domain.to_owned(),
        hosts,
        problem: plan.problem,
    }
}

async fn exchanger(config: &Config, dns: &Dns, host: PreviewedHost, ttl: Option<u32>) -> Exchanger {
    let records = if host.addresses.is_empty() {
        Vec::new()
    } else {
        let records = dns.address_records(&host.name, config.ip).await;
        records.unwrap_or_default()
    };
    let address = |address: SocketAddr| {
        let record = records.iter().find(|r| r.address == address.ip());
        let ttl = record.map(|record| record.ttl);
        ExchangerAddress { address, ttl }
    };
    Exchanger {
        addresses: host.addresses.iter().copied().map(address).collect(),
        name: host.name,
        preference: host.preference,
        ttl,
        problem: host.problem,
    }
}

/// Prints the hosts with their addresses in the order in which they would be tried.
fn show(out: &mut impl Write, found: &Exchangers) -> io::Result<()> {
    found.hosts.iter().try_for_each(|host| show_host(out, host))
}

fn show_host(out: &mut impl Write, host: &Exchanger) -> io::Result<()> {
    let name = escape(&host.name);
    match host.preference {
        Some(preference) => write!(out, "{preference:>5}  {name}")?,
        None => write!(out, "    -  {name}  (the domain has no MX)")?,
    }
    show_ttl(out, host.ttl)?;
    for address in &host.addresses {
        write!(out, "         {}", address.address)?;
        show_ttl(out, address.ttl)?;
    }
    match &host.problem {
        Some(problem) => writeln!(out, "         passed over: {}", escape(problem)),
        None => Ok(()),
    }
}

fn show_ttl(out: &mut impl Write, seconds: Option<u32>) -> io::Result<()> {
    match seconds {
        Some(seconds) => writeln!(out, "  ttl {seconds}"),
        None => writeln!(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_of_an_address_is_used() {
        assert_eq!(domain("dest.test"), Ok("dest.test".to_owned()));
        assert_eq!(domain("u@x@dest.test."), Ok("dest.test".to_owned()));
        for wrong in ["", "u@", "a b", "[192.0.2.1]", "a..b"] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_is_printed_before_its_addresses_and_its_problem() {
        let found = Exchangers {
            domain: "dest.test".to_owned(),
            hosts: vec![
                Exchanger {
                    name: "mx1.dest.test".to_owned(),
                    preference: Some(10),
                    ttl: Some(3600),
                    addresses: vec![ExchangerAddress {
                        address: "192.0.2.1:25".parse().expect("an address"),
                        ttl: Some(300),
                    }],
                    problem: None,
                },
                Exchanger {
                    name: "m\u{1b}".to_owned(),
                    preference: None,
                    ttl: None,
                    addresses: Vec::new(),
                    problem: Some("no address".to_owned()),
                },
            ],
            problem: None,
        };
        let mut out = Vec::new();
        show(&mut out, &found).expect("memory");
        let expected = "   10  mx1.dest.test  ttl 3600
         192.0.2.1:25  ttl 300
    -  m\\u{1b}  (the domain has no MX)
         passed over: no address
";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
