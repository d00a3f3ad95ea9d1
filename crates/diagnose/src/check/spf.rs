//! SPF (RFC 7208): evaluates as receivers do whether this server may send for the domain.

use std::net::IpAddr;

use mail_auth::spf::verify::SpfParameters;
use mail_auth::{MessageAuthenticator, SpfResult};
use relay_remote::dns::{Dns, LookupError};

use super::finding::{Finding, Level, txt_record};

const SPF: &str = "SPF";

/// The SPF findings for a domain, and the result.
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// Whether all addresses pass.
    pub(super) passes: bool,
}

/// Checks mail from the domain that is sent from these addresses.
pub(super) async fn spf(dns: &Dns, domain: &str, hostname: &str, addresses: &[IpAddr]) -> Checked {
    let found = dns.txt(domain).await;
    let record = match only(domain, found, ("v=spf1 mx -all", addresses)) {
        Ok(record) => record,
        Err(finding) => {
            return Checked {
                findings: vec![finding],
                passes: false,
            };
        }
    };
    let mut findings = Vec::new();
    let mut passes = !addresses.is_empty();
    for address in addresses {
        let result = evaluate(dns, domain, hostname, *address).await;
        passes &= result == Ok(SpfResult::Pass);
        findings.push(judge(domain, &record, *address, result));
    }
    if findings.is_empty() {
        let text =
            format!("{record:?}; ask the operator of your smarthost whether it covers that host");
        findings.push(Finding::info(SPF, text));
    }
    Checked { findings, passes }
}

/// Returns the only SPF record of a domain. If there is none, the finding has a typical record with
/// these addresses.
fn only(
    domain: &str,
    found: Result<Vec<Vec<u8>>, LookupError>,
    (usual, addresses): (&str, &[IpAddr]),
) -> Result<String, Finding> {
    let texts = match found {
        Ok(texts) => texts,
        Err(LookupError::NoSuchName | LookupError::NoRecords) => Vec::new(),
        Err(reason) => {
            let text = format!("{domain}: cannot be looked up: {reason}");
            return Err(Finding::fail(SPF, text));
        }
    };
    let mut records: Vec<_> = texts
        .iter()
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .filter(|text| is_spf(text))
        .collect();
    match (records.pop(), records.len()) {
        (None, _) => {
            let text = format!("missing: {domain} has no SPF record");
            let value = covering(usual, addresses);
            Err(Finding::fail(SPF, text).with(txt_record(domain, &value)))
        }
        (Some(record), 0) => Ok(record),
        (Some(_), others) => Err(Finding::fail(
            SPF,
            format!(
                "{domain} has {} SPF records, so receivers use none of them: keep only one",
                others + 1
            ),
        )),
    }
}

/// RFC 7208 §4.5: returns whether the text is an SPF record.
fn is_spf(text: &str) -> bool {
    let version = text.split(' ').next().unwrap_or(text);
    version.eq_ignore_ascii_case("v=spf1")
}

/// Returns the record with these addresses added at its front.
fn covering(record: &str, addresses: &[IpAddr]) -> String {
    let (version, rest) = record.split_once(' ').unwrap_or((record, "-all"));
    let mut value = version.to_owned();
    for address in addresses {
        value += if address.is_ipv4() { " ip4:" } else { " ip6:" };
        value += &address.to_string();
    }
    value + " " + rest
}

async fn evaluate(
    dns: &Dns,
    domain: &str,
    hostname: &str,
    address: IpAddr,
) -> Result<SpfResult, LookupError> {
    let resolver = MessageAuthenticator(dns.resolver()?);
    let sender = format!("postmaster@{domain}");
    let asked = SpfParameters::verify_mail_from(address, hostname, hostname, &sender);
    Ok(resolver.verify_spf(asked).await.result())
}

fn judge(
    domain: &str,
    record: &str,
    address: IpAddr,
    result: Result<SpfResult, LookupError>,
) -> Finding {
    let covering = || txt_record(domain, &covering(record, &[address]));
    let wrong = |what: &str| format!("{domain} {what}: {record:?}");
    match result {
        Ok(SpfResult::Pass) if allows_everyone(record) => {
            let text =
                wrong("allows the whole internet to send for it (+all), which receivers distrust");
            Finding::warn(SPF, text)
        }
        Ok(SpfResult::Pass) => Finding::ok(SPF, format!("{address} passes: {record:?}")),
        Ok(SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral) => {
            let text = wrong(&format!("does not allow {address} to send for it"));
            Finding::fail(SPF, text).with(covering())
        }
        Ok(SpfResult::PermError) => Finding::fail(
            SPF,
            wrong("has a record with an error in it, or one that needs more than ten lookups"),
        ),
        // The record was there a moment ago, so it must be invalid.
        Ok(SpfResult::None) => Finding::fail(SPF, wrong("has a record that cannot be read")),
        Ok(SpfResult::TempError) => Finding::fail(
            SPF,
            wrong("has a record that cannot be evaluated now, because the DNS does not answer"),
        ),
        Err(reason) => Finding::fail(SPF, reason.to_string()),
    }
}

fn allows_everyone(record: &str) -> bool {
    let mut terms = record.split_ascii_whitespace();
    terms.any(|term| term.eq_ignore_ascii_case("all") || term.eq_ignore_ascii_case("+all"))
}

/// Checks bounces, which have no sender: receivers check the name in EHLO for them (RFC 7208 §2.4).
/// Returns problems only, and only as warnings, because it is not mail from the domain.
pub(super) async fn bounces(dns: &Dns, hostname: &str, addresses: &[IpAddr]) -> Vec<Finding> {
    if addresses.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    match only(
        hostname,
        dns.txt(hostname).await,
        ("v=spf1 -all", addresses),
    ) {
        Ok(record) => {
            for address in addresses {
                let result = evaluate(dns, hostname, hostname, *address).await;
                findings.push(judge(hostname, &record, *address, result));
            }
        }
        Err(finding) => findings.push(finding),
    }
    findings.retain(|finding| finding.level != Level::Ok);
    let of_bounces = |finding: Finding| Finding {
        level: Level::Warn,
        text: format!("for bounces: {}", finding.text),
        ..finding
    };
    findings.into_iter().map(of_bounces).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_testkit::{FakeDns, Trouble};

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    async fn checked(set: impl FnOnce(&FakeDns)) -> Checked {
        let fake = FakeDns::start().await;
        set(&fake);
        let dns = Dns::new(&[fake.address()]);
        spf(&dns, "a.test", "mx.a.test", &[ip("192.0.2.7")]).await
    }

    #[tokio::test]
    async fn records_are_evaluated_with_what_they_include() {
        for (record, level) in [
            ("v=spf1 ip4:192.0.2.7 -all", Level::Ok),
            ("v=spf1 ip4:192.0.2.0/24 -all", Level::Ok),
            ("v=spf1 include:spf.b.test -all", Level::Ok),
            ("v=spf1 redirect=spf.b.test", Level::Ok),
            ("v=spf1 a:mx.a.test -all", Level::Ok),
            ("v=spf1 mx -all", Level::Ok),
            ("v=spf1 +all", Level::Warn),
            ("v=spf1 ip4:192.0.2.8 -all", Level::Fail),
            ("v=spf1 ip4:192.0.2.8 ~all", Level::Fail),
            ("v=spf1 ip4:192.0.2.8", Level::Fail),
            ("v=spf1 include:gone.test -all", Level::Fail),
            ("v=spf1 nonsense:x -all", Level::Fail),
        ] {
            let checked = checked(|dns| {
                dns.set("a.test", "TXT", &["unrelated", record]);
                dns.set("a.test", "MX", &["10 mx.a.test"]);
                dns.set("spf.b.test", "TXT", &["v=spf1 ip4:192.0.2.7 -all"]);
                dns.set("mx.a.test", "A", &["192.0.2.7"]);
            })
            .await;
            assert_eq!(checked.findings[0].level, level, "{record}");
            assert_eq!(checked.passes, level != Level::Fail, "{record}");
        }
    }

    #[tokio::test]
    async fn a_missing_record_is_printed_and_a_second_one_is_reported() {
        let none = checked(|dns| dns.set("a.test", "A", &["192.0.2.7"])).await;
        let record = "a.test. IN TXT \"v=spf1 ip4:192.0.2.7 mx -all\"";
        assert_eq!(none.findings[0].record.as_deref(), Some(record));
        assert!(none.findings[0].text.contains("missing"));
        let two = ["v=spf1 ip4:192.0.2.7 -all", "v=spf1 mx -all"];
        let two = checked(|dns| dns.set("a.test", "TXT", &two)).await;
        assert!(two.findings[0].text.contains("2 SPF records") && !two.passes);
        let broken = checked(|dns| dns.fail("a.test", Trouble::ServFail)).await;
        assert_eq!(broken.findings[0].level, Level::Fail);
    }

    #[tokio::test]
    async fn a_record_without_this_address_is_printed_with_it() {
        let checked = checked(|dns| dns.set("a.test", "TXT", &["v=spf1 mx ~all"])).await;
        let record = "a.test. IN TXT \"v=spf1 ip4:192.0.2.7 mx ~all\"";
        assert_eq!(checked.findings[0].record.as_deref(), Some(record));
    }

    #[tokio::test]
    async fn bounces_are_checked_by_the_name_in_ehlo() {
        let fake = FakeDns::start().await;
        let dns = Dns::new(&[fake.address()]);
        let missing = bounces(&dns, "mx.test", &[ip("192.0.2.7")]).await;
        let record = "mx.test. IN TXT \"v=spf1 ip4:192.0.2.7 -all\"";
        assert_eq!(missing[0].record.as_deref(), Some(record));
        fake.set("mx.test", "A", &["192.0.2.7"]);
        fake.set("mx.test", "TXT", &["v=spf1 a -all"]);
        assert_eq!(bounces(&dns, "mx.test", &[ip("192.0.2.7")]).await, []);
    }

    #[tokio::test]
    async fn a_record_that_refuses_our_bounces_is_a_warning() {
        let fake = FakeDns::start().await;
        let dns = Dns::new(&[fake.address()]);
        fake.set("mx.test", "TXT", &["v=spf1 ip4:192.0.2.8 -all"]);
        let refusing = bounces(&dns, "mx.test", &[ip("192.0.2.7")]).await;
        let expected = "mx.test does not allow 192.0.2.7 to send for it";
        assert_eq!(refusing[0].level, Level::Warn);
        assert!(refusing[0].text.contains(expected), "{refusing:?}");
        let fake = FakeDns::start().await;
        fake.fail("mx.test", Trouble::ServFail);
        let dns = Dns::new(&[fake.address()]);
        let unknown = bounces(&dns, "mx.test", &[ip("192.0.2.7")]).await;
        assert!(
            unknown[0].text.contains("cannot be looked up"),
            "{unknown:?}"
        );
        assert_eq!(unknown[0].record, None);
    }
}
