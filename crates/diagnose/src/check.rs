//! Checks whether mail from a domain will be delivered, by what receivers check, as seen from this
//! machine.

mod address;
mod blocklists;
mod dkim;
mod dmarc;
mod finding;
mod host_name;
mod mx;
mod ports;
mod reports;
mod show;
mod spf;

use std::future::Future;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use relay_config::{ConfigError, schema};
use relay_remote::dns::Dns;
use relay_remote::{Config, Inspector};
use relay_terminal::print_json;
use serde::Serialize;
use tokio::time::timeout;

use self::address::Sending;
use self::dmarc::Passed;
use self::ports::Ports;
use crate::config::{ConfigFile, LoadedConfig};
use crate::delivery_settings::{self, DnsArgs};
use crate::dkim::{self as dkim_verb, ConfiguredKey};
use crate::error::Error;
use crate::mx as mx_verb;
use crate::probe::Target;

use self::finding::{Finding, Level};

/// The arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status:
  0  no check has failed
  1  a check has failed
  2  the arguments or the configuration are wrong")]
pub struct CheckArgs {
    /// The domain of the sender addresses
    #[arg(value_parser = mx_verb::domain)]
    domain: String,

    /// Use this public address of the relay; repeatable [default: detected]
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<IpAddr>,

    /// Make no connections to port 25 of other servers or to our own listeners
    #[arg(long)]
    offline_ports: bool,

    /// Connect here to test outbound port 25
    #[arg(long, value_name = "HOST", default_value = "gmail.com")]
    outbound: Target,

    /// Ask this block list; repeatable [default: two, and those configured]
    #[arg(long = "dnsbl", value_name = "ZONE", value_parser = mx_verb::domain)]
    lists: Vec<String>,

    /// Limit the time of each check
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,

    #[command(flatten)]
    dns: DnsArgs,
}

/// The result of all checks.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) domain: String,
    /// The addresses from which receivers see connections of this relay.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) findings: Vec<Finding>,
}

/// The keys of the configuration that the checks need, besides those of deliveries. A problem in `[[dkim]]`
/// is a finding.
const KEYS: &[&str] = &[
    "listener.address",
    "listener.role",
    "listener.proxies",
    "route.domain",
    "route.sender",
    "route.host",
    "route.port",
    "route.tls",
    "route.username",
    "route.password_file",
    "route.password_command",
    "route.token_command",
    "route.token_lifetime",
    "inbound.dnsbl",
];

/// What the checks need of the configuration.
struct CheckSettings {
    /// The settings of deliveries, with the routes.
    deliveries: Config,
    listeners: Vec<schema::Listener>,
    signing: Vec<ConfiguredKey>,
    /// The first problem with `[[dkim]]`.
    signing_problem: Option<ConfigError>,
    /// The block lists that clients are looked up in.
    dnsbl: Vec<String>,
}

impl CheckSettings {
    fn read(config: &LoadedConfig, dns: &DnsArgs) -> Result<Self, Error> {
        config.require(KEYS)?;
        let file = config.file();
        let routes = relay_routing::routes(file);
        let routes = routes.map_err(|problem| config.error_of_route(&problem))?;
        let deliveries = Config {
            routes,
            ..delivery_settings::of_config(config, dns)?
        };
        let lists = file.inbound.dnsbl.iter();
        Ok(Self {
            deliveries,
            listeners: file.listener.clone(),
            signing: dkim_verb::usable_entries(config),
            signing_problem: dkim_verb::problem(config),
            dnsbl: lists.map(|zone| zone.0.to_string()).collect(),
        })
    }
}

/// Checks a domain and prints what was found. Returns [`Error::Refused`] if a check fails.
pub async fn run(
    args: &CheckArgs,
    config: &ConfigFile,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let settings = CheckSettings::read(&config.load()?, &args.dns)?;
    let config = &settings.deliveries;
    let dns = Dns::new(&config.dns_servers);
    let ca_file = config.ca_file.as_deref();
    let inspector = Inspector::new(ca_file).map_err(|e| Error::Refused(e.to_string()))?;
    let checks = Checks {
        args,
        config,
        settings: &settings,
        dns: &dns,
        inspector: &inspector,
    };
    let report = Box::pin(checks.report()).await;
    if json {
        print_json(out, &report).map_err(Error::Output)?;
    } else {
        show::report(out, &report).map_err(Error::Output)?;
    }
    out.flush().map_err(Error::Output)?;
    let failed = report.findings.iter().filter(|f| f.level == Level::Fail);
    match failed.count() {
        0 => Ok(()),
        failed => Err(Error::Refused(format!(
            "{failed} of {} checks failed",
            report.findings.len()
        ))),
    }
}

struct Checks<'a> {
    args: &'a CheckArgs,
    config: &'a Config,
    settings: &'a CheckSettings,
    dns: &'a Arc<Dns>,
    inspector: &'a Inspector,
}

impl Checks<'_> {
    /// Runs all checks at the same time, each within its time limit.
    async fn report(&self) -> Report {
        let domain = &self.args.domain;
        let Sending { addresses, finding } = self.sending().await;
        let ports = Ports {
            config: self.config,
            dns: self.dns,
            inspector: self.inspector,
            limit: self.args.timeout,
        };
        let (host, mx, authentication, reports, lists, ports) = tokio::join!(
            self.host(&addresses),
            self.within("MX", mx::mx(self.dns, domain, &self.config.hostname)),
            self.authentication(&addresses),
            self.reports(),
            self.lists(&addresses),
            self.ports(&ports),
        );
        let mut findings = vec![finding];
        findings.extend(host);
        findings.push(mx);
        findings.extend(authentication);
        findings.extend(reports);
        findings.extend(lists);
        findings.extend(ports);
        Report {
            domain: domain.clone(),
            addresses,
            findings,
        }
    }

    async fn sending(&self) -> Sending {
        let given = &self.args.addresses;
        let found = address::sending(given, self.dns, self.config);
        let late = Sending {
            addresses: Vec::new(),
            finding: self.late("address", Finding::fail),
        };
        timeout(self.args.timeout, found).await.unwrap_or(late)
    }

    async fn host(&self, addresses: &[IpAddr]) -> Vec<Finding> {
        let (dns, hostname) = (self.dns, &self.config.hostname);
        if addresses.is_empty() {
            return Vec::new();
        }
        let mut findings = Vec::new();
        for address in addresses {
            findings.push(
                self.within("PTR", host_name::ptr(dns, *address, hostname))
                    .await,
            );
        }
        let helo = host_name::helo(dns, hostname, addresses);
        findings.push(self.within("HELO", helo).await);
        findings
    }

    /// Checks SPF and DKIM, and DMARC with their results.
    async fn authentication(&self, addresses: &[IpAddr]) -> Vec<Finding> {
        let (dns, domain, limit) = (self.dns, &self.args.domain, self.args.timeout);
        let hostname = &self.config.hostname;
        let (signing, problem) = (&self.settings.signing, &self.settings.signing_problem);
        let (spf, bounces, dkim, dmarc) = tokio::join!(
            timeout(limit, spf::spf(dns, domain, hostname, addresses)),
            timeout(limit, self.bounces(addresses)),
            timeout(limit, dkim::dkim(dns, domain, signing, problem.as_ref())),
            timeout(limit, dmarc::look_up(dns, domain)),
        );
        let spf = spf.unwrap_or_else(|_| spf::Checked {
            findings: vec![self.late("SPF", Finding::fail)],
            passes: false,
        });
        let dkim = dkim.unwrap_or_else(|_| dkim::Checked {
            findings: vec![self.late("DKIM", Finding::fail)],
            verified: Vec::new(),
            unknown: Vec::new(),
        });
        let passed = Passed {
            spf: (!addresses.is_empty()).then_some(spf.passes),
            dkim: &dkim.verified,
            unknown: &dkim.unknown,
        };
        let dmarc = match dmarc {
            Ok(found) => dmarc::judge(domain, found, &passed),
            Err(_) => self.late("DMARC", Finding::fail),
        };
        let mut findings = spf.findings;
        findings.extend(bounces.unwrap_or_else(|_| vec![self.late("SPF", Finding::warn)]));
        findings.extend(dkim.findings);
        if self.has_other_name() {
            findings.extend(dkim::bounces(hostname, signing));
        }
        findings.push(dmarc);
        findings
    }

    async fn bounces(&self, addresses: &[IpAddr]) -> Vec<Finding> {
        if self.has_other_name() {
            spf::bounces(self.dns, &self.config.hostname, addresses).await
        } else {
            Vec::new()
        }
    }

    /// Returns whether bounces come from a domain other than the checked one. They are sent from
    /// the hostname.
    fn has_other_name(&self) -> bool {
        !self.args.domain.eq_ignore_ascii_case(&self.config.hostname)
    }

    async fn reports(&self) -> [Finding; 2] {
        let (dns, domain) = (self.dns, &self.args.domain);
        let (sts, rpt) = tokio::join!(
            self.hint("MTA-STS", reports::mta_sts(dns, domain)),
            self.hint("TLS-RPT", reports::tls_rpt(dns, domain)),
        );
        [sts, rpt]
    }

    async fn lists(&self, addresses: &[IpAddr]) -> Vec<Finding> {
        let mut lists: Vec<&str> = self.args.lists.iter().map(String::as_str).collect();
        if lists.is_empty() {
            lists.extend(blocklists::ADDRESS_LISTS);
            let own = self.settings.dnsbl.iter().map(String::as_str);
            lists.extend(own.filter(|own| !blocklists::ADDRESS_LISTS.contains(own)));
        }
        let mut findings = Vec::new();
        for address in addresses {
            for list in &lists {
                let asked = blocklists::address(self.dns, *address, list);
                findings.push(self.hint("DNSBL", asked).await);
            }
        }
        let asked = blocklists::domain(self.dns, &self.args.domain);
        findings.push(self.hint("DNSBL", asked).await);
        findings
    }

    async fn ports(&self, ports: &Ports<'_>) -> Vec<Finding> {
        if self.args.offline_ports {
            return Vec::new();
        }
        let outbound = async {
            match address::smarthost(&self.config.routes) {
                Some(smarthost) => self.within("smarthost", ports.smarthost(&smarthost)).await,
                None => {
                    self.within("port 25", ports.outbound(&self.args.outbound))
                        .await
                }
            }
        };
        let listeners = ports.listeners(&self.settings.listeners);
        let (outbound, listeners) = tokio::join!(outbound, listeners);
        let mut findings = vec![outbound];
        findings.extend(listeners);
        findings
    }

    async fn within(&self, about: &'static str, check: impl Future<Output = Finding>) -> Finding {
        let checked = timeout(self.args.timeout, check).await;
        checked.unwrap_or_else(|_| self.late(about, Finding::fail))
    }

    /// Runs a check. If it cannot be completed, the result is a warning only.
    async fn hint(&self, about: &'static str, check: impl Future<Output = Finding>) -> Finding {
        let checked = timeout(self.args.timeout, check).await;
        checked.unwrap_or_else(|_| self.late(about, Finding::warn))
    }

    fn late(&self, about: &'static str, level: fn(&'static str, String) -> Finding) -> Finding {
        let limit = humantime::format_duration(self.args.timeout);
        level(about, format!("no answer in {limit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::parse;

    fn settings(text: &str) -> Result<CheckSettings, Error> {
        let text = format!("hostname = \"mx.test\"\n{text}");
        CheckSettings::read(&parse(&text)?, &DnsArgs::default())
    }

    #[test]
    fn a_problem_with_a_key_that_a_check_needs_is_an_error() {
        for (text, expected) in [
            (
                "[[route]]\ndomain = \"*\"\nhost = [\"smtp.test\"]\ntls = \"perhaps\"",
                "relayd.toml:5: route.tls: ",
            ),
            (
                "[[route]]\ndomain = \"*\"\nhost = [\"a b\"]",
                "relayd.toml:4: route.host: ",
            ),
            ("[[listener]]\naddress = \"nowhere\"", "relayd.toml:3: "),
            ("[inbound]\ndnsbl = [1]", "relayd.toml:3: inbound.dnsbl: "),
        ] {
            let error = settings(text).err().map(|error| error.to_string());
            assert!(
                error.as_ref().is_some_and(|e| e.starts_with(expected)),
                "{error:?}"
            );
        }
        assert!(
            settings(
                "[queue]\nlifetime = 1\n[[route]]\nunknown = 1\ndomain = \"*\"\nhost = [\"s.test\"]"
            )
            .is_ok()
        );
    }

    #[test]
    fn a_dkim_table_that_cannot_be_used_is_left_out_and_reported() {
        let table = |domain: &str| {
            format!("[[dkim]]\ndomain = \"{domain}\"\nselector = \"mail\"\nkey = \"/k\"\n")
        };
        let read = settings(&(table("a..b") + &table("a.test"))).expect("settings");
        let signing: Vec<_> = read.signing.iter().map(|e| e.domain.as_str()).collect();
        assert_eq!(signing, ["a.test"]);
        let problem = read.signing_problem.expect("a problem").to_string();
        assert!(
            problem.starts_with("relayd.toml:3: dkim.domain: "),
            "{problem}"
        );
    }
}
