//! DNS lookups, and the three ways in which one can fail.

mod resolver;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use self::resolver::Servers;
use crate::config::IpFamily;

/// How long one lookup may take in all, regardless of the system's configuration.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why a lookup has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name does not exist (NXDOMAIN).
    #[error("no such name")]
    NoSuchName,
    /// The name exists but has no records of this type.
    #[error("no such records")]
    NoRecords,
    /// The DNS gave no answer: SERVFAIL, a timeout, or no server.
    #[error("{0}")]
    Unavailable(String),
}

/// An MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxRecord {
    /// The preference. The lowest is tried first.
    pub preference: u16,
    /// The host without a trailing dot. It is empty for a null MX (RFC 7505 §3).
    pub host: String,
    /// Seconds for which the answer is valid.
    pub ttl: u32,
}

/// An address record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRecord {
    /// The address.
    pub address: IpAddr,
    /// Seconds for which the answer is valid.
    pub ttl: u32,
}

/// A resolver and its cache, for a fixed choice of servers.
#[derive(Debug)]
pub struct Dns {
    servers: Servers,
}

impl Dns {
    /// Uses these servers, or those of the system if there are none.
    pub fn new(servers: &[SocketAddr]) -> Arc<Self> {
        Arc::new(Self {
            servers: Servers::new(servers),
        })
    }

    /// Whether this resolver can stay in use with these servers. One that uses the system's servers
    /// cannot: they may have changed, and so may the names in the system's hosts file.
    pub(crate) fn is_good_for(&self, servers: &[SocketAddr]) -> bool {
        self.servers.are(servers)
    }

    /// The MX records of a domain, in no particular order.
    pub async fn mx(&self, domain: &str) -> Result<Vec<MxRecord>, LookupError> {
        let lookup = self.lookup(absolute(domain)?, RecordType::MX).await?;
        let records = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::MX(mx) => Some(MxRecord {
                    preference: mx.preference,
                    host: text(&mx.exchange),
                    ttl: record.ttl,
                }),
                _ => None,
            });
        some(records.collect())
    }

    /// The addresses of a host that the DNS or a sender has named, IPv6 before IPv4.
    pub async fn addresses(
        &self,
        host: &str,
        family: IpFamily,
    ) -> Result<Vec<IpAddr>, LookupError> {
        self.addresses_by(absolute(host)?, family).await
    }

    /// Like [`Dns::addresses`], with the lifetime of each record.
    pub async fn address_records(
        &self,
        host: &str,
        family: IpFamily,
    ) -> Result<Vec<AddressRecord>, LookupError> {
        self.records_by(absolute(host)?, family).await
    }

    /// The TXT records of a name, each with its strings joined, in no particular order.
    pub async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
        let lookup = self.lookup(absolute(name)?, RecordType::TXT).await?;
        let records = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::TXT(txt) => Some(txt.txt_data.concat()),
                _ => None,
            });
        some(records.collect())
    }

    /// The names of an address (PTR) without trailing dots, in no particular order.
    pub async fn names(&self, address: IpAddr) -> Result<Vec<String>, LookupError> {
        let lookup = self.lookup(address.into(), RecordType::PTR).await?;
        let records = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::PTR(name) => Some(text(&name.0)),
                _ => None,
            });
        some(records.collect())
    }

    /// The resolver and its cache, for other kinds of lookups. Fails if no server is known.
    pub fn resolver(&self) -> Result<TokioResolver, LookupError> {
        self.servers.resolver()
    }

    /// Like [`Dns::addresses`] for a host that the operator has named. A name without a dot is also
    /// looked up in the system's search list, as `smtp` in a container network.
    pub async fn addresses_here(
        &self,
        host: &str,
        family: IpFamily,
    ) -> Result<Vec<IpAddr>, LookupError> {
        let mut name = absolute(host)?;
        name.set_fqdn(host.contains('.'));
        self.addresses_by(name, family).await
    }

    async fn addresses_by(&self, name: Name, family: IpFamily) -> Result<Vec<IpAddr>, LookupError> {
        let records = self.records_by(name, family).await?;
        Ok(records.into_iter().map(|record| record.address).collect())
    }

    async fn records_by(
        &self,
        name: Name,
        family: IpFamily,
    ) -> Result<Vec<AddressRecord>, LookupError> {
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
        let answer = match self.servers.resolver() {
            Ok(resolver) => {
                let lookup = resolver.lookup(name, kind);
                match tokio::time::timeout(TIMEOUT, lookup).await {
                    Ok(answer) => answer.map_err(|e| reason(&e)),
                    Err(_) => Err(LookupError::Unavailable("no answer in time".to_owned())),
                }
            }
            Err(error) => Err(error),
        };
        if let Err(LookupError::Unavailable(_)) = answer {
            self.servers.look_again().await;
        }
        answer
    }
}

/// A name that the search list does not apply to. A text that cannot be a name does not exist.
fn absolute(name: &str) -> Result<Name, LookupError> {
    let mut name = Name::from_str_relaxed(name).map_err(|_| LookupError::NoSuchName)?;
    name.set_fqdn(true);
    Ok(name)
}

/// A host name without its trailing dot.
fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

fn addresses_of(lookup: Result<Lookup, LookupError>) -> Result<Vec<AddressRecord>, LookupError> {
    let lookup = lookup?;
    let records = lookup.answers().iter().filter_map(|record| {
        let address = match record.data {
            RData::A(a) => IpAddr::V4(a.0),
            RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
            _ => return None,
        };
        let ttl = record.ttl;
        Some(AddressRecord { address, ttl })
    });
    some(records.collect())
}

/// The addresses of both families. If there are none, the less certain of the two failures.
fn both<T>(
    first: Result<Vec<T>, LookupError>,
    second: Result<Vec<T>, LookupError>,
) -> Result<Vec<T>, LookupError> {
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

/// Only a definite answer makes a name missing. Every other failure is temporary.
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
    use hickory_resolver::config::{ResolverConfig, ResolverOpts};
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
    async fn a_missing_name_missing_records_and_no_answer_are_different_failures() {
        let (fake, dns) = fake().await;
        fake.set("here.test", "A", &["192.0.2.1"]);
        fake.fail("broken.test", Trouble::ServFail);
        assert_eq!(dns.mx("gone.test").await, Err(LookupError::NoSuchName));
        assert_eq!(dns.mx("here.test").await, Err(LookupError::NoRecords));
        assert!(unavailable(&dns.mx("broken.test").await));
        assert_eq!(dns.mx("a b").await, Err(LookupError::NoSuchName));
    }

    #[tokio::test]
    async fn a_negative_answer_with_a_minimum_of_zero_is_not_cached() {
        let (fake, dns) = fake().await;
        assert_eq!(dns.mx("new.test").await, Err(LookupError::NoSuchName));
        fake.set("new.test", "MX", &["10 mx.new.test"]);
        assert_eq!(dns.mx("new.test").await.map(|r| r.len()), Ok(1));
        fake.fail("new.test", Trouble::ServFail);
        assert!(
            unavailable(&dns.mx("new.test").await),
            "an answer with a ttl of 0 is not cached either"
        );
    }

    #[tokio::test]
    async fn answers_are_cached_for_their_ttl() {
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
    async fn one_family_is_enough_and_an_unused_family_is_not_looked_up() {
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
    async fn aliases_are_followed_and_a_truncated_answer_is_repeated_over_tcp() {
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
    async fn answers_carry_their_ttl() {
        let (fake, dns) = fake().await;
        fake.set_ttl(300);
        fake.set("dest.test", "MX", &["10 mx.dest.test"]);
        fake.set("mx.dest.test", "A", &["192.0.2.1"]);
        let mx = dns.mx("dest.test").await.expect("records");
        let a = dns.address_records("mx.dest.test", IpFamily::Any).await;
        let a = a.expect("records");
        assert!((1..=300).contains(&mx[0].ttl), "{mx:?}");
        assert!((1..=300).contains(&a[0].ttl), "{a:?}");
    }

    #[tokio::test]
    async fn txt_records_and_the_names_of_an_address_are_found() {
        let (fake, dns) = fake().await;
        fake.set("dest.test", "TXT", &["v=spf1 -all"]);
        fake.set("1.2.0.192.in-addr.arpa", "PTR", &["mx.dest.test"]);
        let texts = dns.txt("dest.test").await;
        assert_eq!(texts, Ok(vec![b"v=spf1 -all".to_vec()]));
        let address = |a: &str| a.parse().expect("an address");
        let names = dns.names(address("192.0.2.1")).await;
        assert_eq!(names, Ok(vec!["mx.dest.test".to_owned()]));
        let none = dns.names(address("2001:db8::1")).await;
        assert_eq!(none, Err(LookupError::NoSuchName));
    }

    #[tokio::test]
    async fn an_international_name_is_looked_up_in_its_ascii_form() {
        let (fake, dns) = fake().await;
        fake.set("xn--bcher-kva.test", "MX", &["10 mx.test"]);
        assert_eq!(dns.mx("bücher.test").await.map(|r| r.len()), Ok(1));
    }

    #[tokio::test]
    async fn the_search_list_applies_only_to_names_of_the_operator() {
        let fake = FakeDns::start().await;
        fake.set("smtp.our.test", "A", &["192.0.2.1"]);
        let search = vec![Name::from_ascii("our.test.").expect("a name")];
        let servers = vec![resolver::name_server(fake.address())];
        let config = ResolverConfig::from_parts(None, search, servers);
        let built = resolver::build(config, ResolverOpts::default());
        let dns = Dns {
            servers: Servers::Configured(Vec::new(), Ok(built.expect("a resolver"))),
        };
        let found = dns.addresses_here("smtp", IpFamily::V4).await;
        assert_eq!(found.map(|a| a.len()), Ok(1));
        for host in ["smtp", "smtp."] {
            let found = dns.addresses(host, IpFamily::V4).await;
            assert_eq!(found, Err(LookupError::NoSuchName), "{host}");
        }
        assert_eq!(dns.mx("smtp").await, Err(LookupError::NoSuchName));
        fake.set("gone.test.our.test", "A", &["192.0.2.3"]);
        let found = dns.addresses_here("gone.test", IpFamily::V4).await;
        assert_eq!(found, Err(LookupError::NoSuchName));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_starts_before_its_network_finds_its_servers_later() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("resolv.conf");
        let dns = Dns {
            servers: Servers::System(resolver::System::new(&file)),
        };
        assert!(unavailable(&dns.mx("dest.test").await));
        std::fs::write(&file, "nameserver 192.0.2.53\n").expect("written");
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(unavailable(&dns.mx("dest.test").await));
        assert!(dns.servers.resolver().is_ok());
    }
}
