//! Questions to the DNS, and the three ways in which it can have no answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::config::IpFamily;

/// For one try of one question.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries after the first.
const RETRIES: usize = 1;
/// For one question in all, whatever the system's configuration says.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The longest that a "no" is remembered, whatever its SOA allows: it can make mail bounce.
const LONGEST_NO: Duration = Duration::from_mins(5);
/// Questions under way at one time over one TCP connection.
const ACTIVE_REQUESTS: usize = 1024;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The name exists, without records of this type.
    NoRecords,
    /// Nobody knows: SERVFAIL, a timeout, no server.
    Unavailable(String),
}

/// An MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MxRecord {
    pub(crate) preference: u16,
    /// Without trailing dot; empty for the root, which stands for "no mail here" (RFC 7505 §3).
    pub(crate) host: String,
}

/// A resolver with its cache, for one choice of servers.
#[derive(Debug)]
pub(crate) struct Dns {
    servers: Vec<SocketAddr>,
    /// Without it every question is in vain, and this says why.
    resolver: Result<TokioResolver, String>,
}

impl Dns {
    /// Over these servers, or those of the system if there are none.
    pub(crate) fn new(servers: &[SocketAddr]) -> Arc<Self> {
        Arc::new(Self {
            servers: servers.to_vec(),
            resolver: build(servers).map_err(|e| e.to_string()),
        })
    }

    /// Whether it asks these servers.
    pub(crate) fn asks(&self, servers: &[SocketAddr]) -> bool {
        self.servers == servers
    }

    /// The MX records of a domain, in no order.
    pub(crate) async fn mx(&self, domain: &str) -> Result<Vec<MxRecord>, LookupError> {
        let lookup = self.lookup(absolute(domain)?, RecordType::MX).await?;
        let records = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::MX(mx) => Some(MxRecord {
                    preference: mx.preference,
                    host: mx.exchange.to_ascii().trim_end_matches('.').to_owned(),
                }),
                _ => None,
            });
        some(records.collect())
    }

    /// The addresses of a host, IPv6 before IPv4.
    pub(crate) async fn addresses(
        &self,
        host: &str,
        family: IpFamily,
    ) -> Result<Vec<IpAddr>, LookupError> {
        let name = host_name(host)?;
        let ask = async |kind: RecordType, wanted: bool| {
            if !wanted {
                return Err(LookupError::NoRecords);
            }
            addresses_of(self.lookup(name.clone(), kind).await)
        };
        let (v6, v4) = tokio::join!(
            ask(RecordType::AAAA, family.allows_v6()),
            ask(RecordType::A, family.allows_v4())
        );
        both(v6, v4)
    }

    async fn lookup(&self, name: Name, kind: RecordType) -> Result<Lookup, LookupError> {
        let resolver = self.resolver.as_ref();
        let resolver = resolver.map_err(|e| LookupError::Unavailable(e.clone()))?;
        match tokio::time::timeout(TIMEOUT, resolver.lookup(name, kind)).await {
            Ok(answer) => answer.map_err(|e| reason(&e)),
            Err(_) => Err(LookupError::Unavailable("no answer in time".to_owned())),
        }
    }
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|s| name_server(*s)).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = TRY_TIMEOUT;
    options.attempts = RETRIES;
    options.negative_max_ttl = Some(LONGEST_NO);
    options.max_active_requests = ACTIVE_REQUESTS;
    if !servers.is_empty() {
        options.use_hosts_file = ResolveHosts::Never;
    }
    builder.build()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// A name that no search list is applied to. What cannot be a name in the DNS does not exist there.
fn absolute(name: &str) -> Result<Name, LookupError> {
    let mut name = Name::from_str_relaxed(name).map_err(|_| LookupError::NoSuchName)?;
    name.set_fqdn(true);
    Ok(name)
}

/// A name without a dot is looked up by the system's search list, as `smtp` in a container network.
fn host_name(host: &str) -> Result<Name, LookupError> {
    if host.contains('.') {
        return absolute(host);
    }
    Name::from_str_relaxed(host).map_err(|_| LookupError::NoSuchName)
}

fn addresses_of(lookup: Result<Lookup, LookupError>) -> Result<Vec<IpAddr>, LookupError> {
    let lookup = lookup?;
    let addresses = lookup
        .answers()
        .iter()
        .filter_map(|record| match record.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        });
    some(addresses.collect())
}

/// The addresses of both families, if any; else the less certain of the two reasons.
fn both(
    first: Result<Vec<IpAddr>, LookupError>,
    second: Result<Vec<IpAddr>, LookupError>,
) -> Result<Vec<IpAddr>, LookupError> {
    use LookupError::{NoRecords, NoSuchName, Unavailable};
    match (first, second) {
        (Ok(mut first), Ok(second)) => {
            first.extend(second);
            Ok(first)
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(Unavailable(why)), Err(_)) | (Err(_), Err(Unavailable(why))) => Err(Unavailable(why)),
        (Err(NoSuchName), Err(_)) | (Err(_), Err(NoSuchName)) => Err(NoSuchName),
        (Err(NoRecords), Err(NoRecords)) => Err(NoRecords),
    }
}

fn some<T>(records: Vec<T>) -> Result<Vec<T>, LookupError> {
    if records.is_empty() {
        return Err(LookupError::NoRecords);
    }
    Ok(records)
}

/// Only an answer that says so makes a name missing; all else may pass.
fn reason(error: &NetError) -> LookupError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(no)) => match no.response_code {
            ResponseCode::NXDomain => LookupError::NoSuchName,
            ResponseCode::NoError => LookupError::NoRecords,
            other => LookupError::Unavailable(other.to_string()),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => LookupError::Unavailable(code.to_string()),
        other => LookupError::Unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_testkit::{FakeDns, Trouble};

    async fn fake() -> (FakeDns, Arc<Dns>) {
        let fake = FakeDns::start().await;
        let dns = Dns::new(&[fake.address()]);
        (fake, dns)
    }

    fn unavailable<T>(result: &Result<T, LookupError>) -> bool {
        matches!(result, Err(LookupError::Unavailable(_)))
    }

    #[tokio::test]
    async fn a_missing_name_missing_records_and_no_answer_are_three_things() {
        let (fake, dns) = fake().await;
        fake.set("here.test", "A", &["192.0.2.1"]);
        fake.fail("broken.test", Trouble::ServFail);
        assert_eq!(dns.mx("gone.test").await, Err(LookupError::NoSuchName));
        assert_eq!(dns.mx("here.test").await, Err(LookupError::NoRecords));
        assert!(unavailable(&dns.mx("broken.test").await));
        assert_eq!(dns.mx("a b").await, Err(LookupError::NoSuchName));
    }

    #[tokio::test]
    async fn a_no_with_a_minimum_of_zero_is_not_remembered() {
        let (fake, dns) = fake().await;
        assert_eq!(dns.mx("new.test").await, Err(LookupError::NoSuchName));
        fake.set("new.test", "MX", &["10 mx.new.test"]);
        assert_eq!(dns.mx("new.test").await.map(|r| r.len()), Ok(1));
        fake.fail("new.test", Trouble::ServFail);
        assert!(
            unavailable(&dns.mx("new.test").await),
            "a ttl of 0 is not remembered either"
        );
    }

    #[tokio::test]
    async fn answers_are_remembered_for_their_ttl() {
        let (fake, dns) = fake().await;
        fake.set_ttl(300);
        fake.set("dest.test", "MX", &["10 mx.dest.test", "0 ."]);
        let first = dns.mx("dest.test").await.expect("records");
        assert!(
            first
                .iter()
                .any(|r| r.host == "mx.dest.test" && r.preference == 10)
        );
        assert!(first.iter().any(|r| r.host.is_empty()));
        fake.fail("dest.test", Trouble::ServFail);
        assert_eq!(dns.mx("dest.test").await.map(|r| r.len()), Ok(2));
        assert_eq!(fake.times_asked("dest.test", "MX"), 1);
    }

    #[tokio::test]
    async fn one_family_is_enough_and_the_other_is_not_asked_for() {
        let (fake, dns) = fake().await;
        fake.set("both.test", "A", &["192.0.2.1"]);
        fake.set("both.test", "AAAA", &["2001:db8::1"]);
        fake.set("four.test", "A", &["192.0.2.4"]);
        let ask = async |name: &str, family| {
            dns.addresses(name, family)
                .await
                .map(|a| a.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            ask("both.test", IpFamily::Any).await,
            Ok(vec!["2001:db8::1".into(), "192.0.2.1".into()])
        );
        assert_eq!(
            ask("both.test", IpFamily::V4).await,
            Ok(vec!["192.0.2.1".into()])
        );
        assert_eq!(
            ask("both.test", IpFamily::V6).await,
            Ok(vec!["2001:db8::1".into()])
        );
        assert_eq!(
            ask("four.test", IpFamily::Any).await,
            Ok(vec!["192.0.2.4".into()])
        );
        assert_eq!(
            ask("four.test", IpFamily::V6).await,
            Err(LookupError::NoRecords)
        );
        assert_eq!(
            ask("none.test", IpFamily::Any).await,
            Err(LookupError::NoSuchName)
        );
        assert_eq!(fake.times_asked("four.test", "A"), 1);
    }

    #[tokio::test]
    async fn aliases_are_followed_and_a_cut_answer_comes_over_tcp() {
        let (fake, dns) = fake().await;
        fake.set("alias.test", "CNAME", &["dest.test"]);
        fake.set("dest.test", "MX", &["10 mx.dest.test"]);
        fake.set("dangling.test", "CNAME", &["gone.test"]);
        assert_eq!(dns.mx("alias.test").await.map(|r| r.len()), Ok(1));
        assert_eq!(dns.mx("dangling.test").await, Err(LookupError::NoSuchName));
        fake.truncate_udp(true);
        fake.set("long.test", "MX", &["10 a.test", "20 b.test"]);
        assert_eq!(dns.mx("long.test").await.map(|r| r.len()), Ok(2));
    }

    #[tokio::test]
    async fn a_name_beyond_ascii_is_asked_for_in_its_ascii_form() {
        let (fake, dns) = fake().await;
        fake.set("xn--bcher-kva.test", "MX", &["10 mx.test"]);
        assert_eq!(dns.mx("bücher.test").await.map(|r| r.len()), Ok(1));
    }
}
