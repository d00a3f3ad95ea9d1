//! DNS block lists (RFC 5782).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use relay_remote::IpFamily;
use relay_remote::dns::{Dns, LookupError};
use relay_smtpd::inbound_check::Listing;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::events;

/// The shortest time between two warnings about one list.
const WARN: Duration = Duration::from_hours(1);

/// Octets of a list's text that are passed on. It becomes part of a reply, which is limited to 512
/// octets (RFC 5321 §4.5.3.1.5).
const MAX_TEXT: usize = 200;

/// The configured block lists.
#[derive(Debug)]
pub(crate) struct BlockLists {
    lists: Vec<Arc<BlockList>>,
    timeout: Duration,
}

#[derive(Debug)]
struct BlockList {
    zone: String,
    /// When the last warning about it was logged.
    warned: Mutex<Option<Instant>>,
}

/// The result of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ListAnswer {
    Listed,
    NotListed,
    /// The answer cannot be relied on, for this reason.
    Trouble(String),
}

impl BlockLists {
    pub(crate) fn new(zones: &[String], timeout: Duration) -> Self {
        let list = |zone: &String| BlockList {
            zone: zone.clone(),
            warned: Mutex::default(),
        };
        let lists = zones.iter().map(|zone| Arc::new(list(zone)));
        Self {
            lists: lists.collect(),
            timeout,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Returns the first answer that lists the client, without waiting for the other lists.
    pub(crate) async fn ask(&self, dns: &Arc<Dns>, client: IpAddr) -> Option<Listing> {
        let end = Instant::now() + self.timeout;
        let mut answers = JoinSet::new();
        for list in &self.lists {
            let (list, dns) = (Arc::clone(list), Arc::clone(dns));
            answers.spawn(async move { list.ask(&dns, client, end).await });
        }
        while let Some(answer) = answers.join_next().await {
            if let Ok(Some(listing)) = answer {
                return Some(listing);
            }
        }
        None
    }
}

impl BlockList {
    async fn ask(&self, dns: &Dns, client: IpAddr, end: Instant) -> Option<Listing> {
        let name = format!("{}.{}", backwards(client), self.zone);
        let addresses = timeout_at(end, dns.addresses(&name, IpFamily::V4)).await;
        let addresses = addresses
            .unwrap_or_else(|_| Err(LookupError::Unavailable("no answer in time".to_owned())));
        match meaning(addresses) {
            ListAnswer::NotListed => None,
            ListAnswer::Trouble(reason) => {
                self.warn(&reason);
                None
            }
            ListAnswer::Listed => {
                let texts = timeout_at(end, dns.txt(&name)).await;
                let texts = texts.ok().and_then(Result::ok).unwrap_or_default();
                Some(Listing {
                    list: self.zone.clone(),
                    text: texts
                        .first()
                        .map_or_else(String::new, |text| printable(text)),
                })
            }
        }
    }

    fn warn(&self, reason: &str) {
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| now.duration_since(last) >= WARN) {
            *warned = Some(now);
            events::list_trouble(&self.zone, reason);
        }
    }
}

fn meaning(addresses: Result<Vec<IpAddr>, LookupError>) -> ListAnswer {
    let addresses = match addresses {
        Ok(addresses) => addresses,
        Err(LookupError::NoSuchName | LookupError::NoRecords) => return ListAnswer::NotListed,
        Err(LookupError::Unavailable(reason)) => return ListAnswer::Trouble(reason),
    };
    let error = addresses.iter().find(|address| is_error(address));
    if let Some(code) = error {
        return ListAnswer::Trouble(format!(
            "it answers {code}, an error code: many lists refuse queries from public DNS servers, so use a DNS server of your own"
        ));
    }
    // RFC 5782 §2.1. A zone that has closed may answer everything with the address of a web site.
    match (addresses.iter().any(IpAddr::is_loopback), addresses.first()) {
        (true, _) => ListAnswer::Listed,
        (false, Some(other)) => ListAnswer::Trouble(format!(
            "it answers {other}, which is not a listing; it may have closed"
        )),
        (false, None) => ListAnswer::NotListed,
    }
}

/// Whether the answer is an error code about the query; by convention these are in 127.255.255.0/24.
fn is_error(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(code) => code.octets()[..3] == Ipv4Addr::new(127, 255, 255, 0).octets()[..3],
        IpAddr::V6(_) => false,
    }
}

/// Reverses an address: octets for IPv4 (RFC 5782 §2.1), nibbles for IPv6 (§2.4).
fn backwards(address: IpAddr) -> String {
    let parts: Vec<String> = match address.to_canonical() {
        IpAddr::V4(address) => {
            let octets = address.octets().into_iter().rev();
            octets.map(|octet| octet.to_string()).collect()
        }
        IpAddr::V6(address) => {
            let octets = address.octets().into_iter().rev();
            let halves = octets.flat_map(|octet| [octet & 15, octet >> 4]);
            halves.map(|half| format!("{half:x}")).collect()
        }
    };
    parts.join(".")
}

/// Makes the text of a list safe for a reply and the log.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let text: String = text
        .chars()
        .take(MAX_TEXT)
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use relay_testkit::{FakeDns, Trouble};

    use super::*;

    const CLIENT: &str = "7.2.0.192";

    async fn ask(fake: &FakeDns, lists: &[&str], client: &str) -> Option<Listing> {
        let zones: Vec<String> = lists.iter().map(ToString::to_string).collect();
        let lists = BlockLists::new(&zones, Duration::from_millis(300));
        let dns = Dns::new(&[fake.address()]);
        lists.ask(&dns, client.parse().expect("an address")).await
    }

    fn listing(list: &str, text: &str) -> Listing {
        let (list, text) = (list.to_owned(), text.to_owned());
        Listing { list, text }
    }

    #[tokio::test]
    async fn only_a_code_of_the_list_is_a_listing() {
        for (codes, is_listed) in [
            (&[][..], false),
            (&["127.0.0.2"], true),
            (&["127.0.1.4", "127.0.0.10"], true),
            (&["127.255.255.254"], false),
            (&["127.0.0.2", "127.255.255.252"], false),
            (&["198.51.100.1"], false),
        ] {
            let fake = FakeDns::start().await;
            let name = format!("{CLIENT}.bl.test");
            if !codes.is_empty() {
                fake.set(&name, "A", codes);
                fake.set(&name, "TXT", &["see https://bl.test/"]);
            }
            let expected = is_listed.then(|| listing("bl.test", "see https://bl.test/"));
            assert_eq!(
                ask(&fake, &["bl.test"], "192.0.2.7").await,
                expected,
                "{codes:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_ipv6_address_is_queried_in_nibbles() {
        let fake = FakeDns::start().await;
        let name = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test";
        fake.set(name, "A", &["127.0.0.2"]);
        assert_eq!(
            ask(&fake, &["bl.test"], "2001:db8::1").await,
            Some(listing("bl.test", ""))
        );
        fake.set(&format!("{CLIENT}.bl.test"), "A", &["127.0.0.2"]);
        let mapped = ask(&fake, &["bl.test"], "::ffff:192.0.2.7").await;
        assert_eq!(mapped, Some(listing("bl.test", "")));
    }

    #[tokio::test]
    async fn a_list_that_fails_or_is_slow_neither_lists_nor_hides_another() {
        let fake = FakeDns::start().await;
        fake.fail(&format!("{CLIENT}.slow.test"), Trouble::Silence);
        fake.fail(&format!("{CLIENT}.broken.test"), Trouble::ServFail);
        assert_eq!(
            ask(&fake, &["slow.test", "broken.test"], "192.0.2.7").await,
            None
        );
        fake.set(&format!("{CLIENT}.good.test"), "A", &["127.0.0.3"]);
        fake.fail(&format!("{CLIENT}.good.test"), Trouble::NxDomain);
        fake.set(&format!("{CLIENT}.good.test"), "A", &["127.0.0.3"]);
        let found = ask(&fake, &["slow.test", "good.test"], "192.0.2.7").await;
        assert_eq!(found, Some(listing("good.test", "")));
    }

    #[test]
    fn text_from_a_list_is_made_printable() {
        assert_eq!(
            printable(b" a\r\n250 ok\x00\xff\xc3\xa4\x1b[1m "),
            "a??250 ok????[1m"
        );
        assert_eq!(printable(&[b'x'; 5000]).len(), MAX_TEXT);
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_is_logged_once_an_hour() {
        let list = BlockList {
            zone: "bl.test".to_owned(),
            warned: Mutex::default(),
        };
        let told = |list: &BlockList| *list.warned.lock().expect("no test panicked");
        list.warn("x");
        let first = told(&list);
        tokio::time::advance(WARN / 2).await;
        list.warn("x");
        assert_eq!(told(&list), first);
        tokio::time::advance(WARN).await;
        list.warn("x");
        assert_ne!(told(&list), first);
    }
}
