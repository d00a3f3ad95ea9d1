//! DNS block lists (RFC 5782): checks whether an address or the domain is listed.

use std::net::{IpAddr, Ipv4Addr};

use relay_remote::IpFamily;
use relay_remote::dns::{Dns, LookupError};

use super::finding::Finding;
use super::host_name::backwards;

const DNSBL: &str = "DNSBL";
/// Block lists that many receivers use.
pub(super) const ADDRESS_LISTS: [&str; 2] = ["zen.spamhaus.org", "bl.spamcop.net"];
const DOMAIN_LIST: &str = "dbl.spamhaus.org";

pub(super) async fn address(dns: &Dns, address: IpAddr, list: &str) -> Finding {
    let name = format!("{}.{list}", backwards(address));
    listing(dns, &address.to_string(), &name, list).await
}

pub(super) async fn domain(dns: &Dns, domain: &str) -> Finding {
    let name = format!("{domain}.{DOMAIN_LIST}");
    listing(dns, domain, &name, DOMAIN_LIST).await
}

async fn listing(dns: &Dns, who: &str, name: &str, list: &str) -> Finding {
    let found = dns.addresses(name, IpFamily::V4).await;
    let words = match &found {
        Ok(_) => dns.txt(name).await.ok(),
        Err(_) => None,
    };
    let words = words.and_then(|texts| texts.into_iter().next());
    let words = words.map(|text| String::from_utf8_lossy(&text).into_owned());
    judge(who, list, found, words)
}

fn judge(
    who: &str,
    list: &str,
    found: Result<Vec<IpAddr>, LookupError>,
    words: Option<String>,
) -> Finding {
    let codes = match found {
        Ok(codes) => codes,
        Err(LookupError::NoSuchName | LookupError::NoRecords) => {
            return Finding::ok(DNSBL, format!("{who} is not on {list}"));
        }
        Err(reason) => return Finding::warn(DNSBL, format!("{list} does not answer: {reason}")),
    };
    let words = words.map(|words| format!(": {words}")).unwrap_or_default();
    if codes.iter().any(is_refusal) {
        let text =
            format!("{list} does not answer this DNS server; many lists refuse public ones{words}");
        return Finding::warn(DNSBL, text);
    }
    let codes: Vec<_> = codes.iter().filter(|code| code.is_loopback()).collect();
    let Some(code) = codes.first() else {
        let text = format!("{list} returns an unexpected address; it may have been shut down");
        return Finding::warn(DNSBL, text);
    };
    Finding::fail(DNSBL, format!("{who} is on {list} ({code}){words}"))
}

/// Returns whether the code, 127.255.255.0/24 by convention, is about the query and not the
/// address.
fn is_refusal(code: &IpAddr) -> bool {
    match code {
        IpAddr::V4(code) => code.octets()[..3] == Ipv4Addr::new(127, 255, 255, 0).octets()[..3],
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use relay_testkit::{FakeDns, Trouble};

    #[tokio::test]
    async fn only_a_loopback_address_is_a_listing() {
        let name = "7.2.0.192.list.test";
        for (codes, level, word) in [
            (&[][..], Level::Ok, "is not on list.test"),
            (&["127.0.0.2"], Level::Fail, "(127.0.0.2): see list.test"),
            (&["127.255.255.254"], Level::Warn, "does not answer"),
            (&["198.51.100.1"], Level::Warn, "unexpected"),
        ] {
            let fake = FakeDns::start().await;
            if !codes.is_empty() {
                fake.set(name, "A", codes);
                fake.set(name, "TXT", &["see list.test"]);
            }
            let ip = "192.0.2.7".parse().expect("an address");
            let finding = address(&Dns::new(&[fake.address()]), ip, "list.test").await;
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.text.contains(word), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn a_list_that_does_not_answer_is_a_warning() {
        let fake = FakeDns::start().await;
        fake.fail("a.test.dbl.spamhaus.org", Trouble::ServFail);
        let finding = domain(&Dns::new(&[fake.address()]), "a.test").await;
        assert_eq!(finding.level, Level::Warn, "{finding:?}");
    }
}
