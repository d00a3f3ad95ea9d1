//! Questions to the DNS, and the three ways in which it can have no answer.

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

/// For one question in all, whatever the system's configuration says.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is no such name (NXDOMAIN).
    #[error("no such name")]
    NoSuchName,
    /// The name exists, without records of this type.
    #[error("no such records")]
    NoRecords,
    /// Nobody knows: SERVFAIL, a timeout, no server.
    #[error("{0}")]
    Unavailable(String),
}

/// An MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxRecord {
    /// The lowest is tried first.
    pub preference: u16,
    /// Without trailing dot; empty for the root, which stands for "no mail here" (RFC 7505 §3).
    pub host: String,
    /// Seconds for which the answer holds.
    pub ttl: u32,
}

/// An address record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRecord {
    /// Where the host is.
    pub address: IpAddr,
    /// Seconds for which the answer holds.
    pub ttl: u32,
}

/// A resolver with its cache, for one choice of servers.
#[derive(Debug)]
pub struct Dns {
    servers: Servers,
}

impl Dns {
    /// Over these servers, or those of the system if there are none.
    pub fn new(servers: &[SocketAddr]) -> Arc<Self> {
        Arc::new(Self {
            servers: Servers::new(servers),
        })
    }

    /// Whether it is as good as a new one over these servers. It is not if they are the system's,
    /// which may have changed, as the names of hosts may that the system knows by itself.
    pub(crate) fn is_good_for(&self, servers: &[SocketAddr]) -> bool {
        self.servers.are(servers)
    }

    /// The MX records of a domain, in no order.
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

    /// The same with what the answer says of its own life.
    pub async fn address_records(
        &self,
        host: &str,
        family: IpFamily,
    ) -> Result<Vec<AddressRecord>, LookupError> {
        self.records_by(absolute(host)?, family).await
    }

    /// The TXT records of a name, each with its strings joined, in no order.
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

    /// The names that the address itself is given (PTR), without trailing dot, in no order.
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

    /// What asks, with its cache, for whoever has questions of other kinds; or why nobody can be
    /// asked.
    pub fn resolver(&self) -> Result<TokioResolver, String> {
        self.servers.resolver()
    }

    /// The same of a host that the operator has named. A name without a dot is looked up by the
    /// system's search list, as `smtp` in a container network.
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
            Err(why) => Err(LookupError::Unavailable(why)),
        };
        if let Err(LookupError::Unavailable(_)) = answer {
            self.servers.look_again().await;
        }
        answer
    }
}

/// A name that no search list is applied to. What cannot be a name in the DNS does not exist there.
fn absolute(name: &str) -> Result<Name, LookupError> {
    let mut name = Name::from_str_relaxed(name).map_err(|_| LookupError::NoSuchName)?;
    name.set_fqdn(true);
    Ok(name)
}

/// A host name, without the dot at its end.
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

/// The addresses of both families, if any; else the less certain of the two reasons.
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
    async fn answers_tell_how_long_they_hold() {
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
    async fn texts_and_the_names_of_an_address_are_found() {
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
    async fn a_name_beyond_ascii_is_asked_for_in_its_ascii_form() {
        let (fake, dns) = fake().await;
        fake.set("xn--bcher-kva.test", "MX", &["10 mx.test"]);
        assert_eq!(dns.mx("bücher.test").await.map(|r| r.len()), Ok(1));
    }

    #[tokio::test]
    async fn only_what_the_operator_names_is_searched_for() {
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
