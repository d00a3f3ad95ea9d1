//! Checks what receivers see of this machine: its address, the name of the address, and the name in
//! EHLO.

use std::net::IpAddr;

use relay_remote::IpFamily;
use relay_remote::dns::{Dns, LookupError};
use relay_smtp::address::is_domain;

use super::finding::Finding;

const PTR: &str = "PTR";
const HELO: &str = "HELO";
/// The largest number of names of one address that are checked.
const MAX_NAMES: usize = 5;

/// A name of an address, and the addresses of this name.
type Named = (String, Result<Vec<IpAddr>, LookupError>);

/// Checks the name of an address in the DNS, and whether the name has this address.
pub(super) async fn ptr(dns: &Dns, address: IpAddr, hostname: &str) -> Finding {
    let names = match dns.names(address).await {
        Ok(names) => names,
        Err(reason) => return judge_ptr(address, hostname, Err(reason)),
    };
    let mut found = Vec::new();
    for name in names.into_iter().take(MAX_NAMES) {
        let found_addresses = dns.addresses(&name, IpFamily::Any).await;
        found.push((name, found_addresses));
    }
    judge_ptr(address, hostname, Ok(found))
}

fn judge_ptr(address: IpAddr, hostname: &str, names: Result<Vec<Named>, LookupError>) -> Finding {
    let record = format!("{} IN PTR {hostname}.", reverse(address));
    let names = match names {
        Ok(names) => names,
        Err(LookupError::NoSuchName | LookupError::NoRecords) => {
            let text =
                format!("{address} has no PTR record; the provider of the address can add it");
            return Finding::fail(PTR, text).with(record);
        }
        Err(reason) => {
            return Finding::fail(PTR, format!("{address}: cannot be looked up: {reason}"));
        }
    };
    let resolves_back = |(name, found): &&Named| {
        is_host_name(name) && found.as_ref().is_ok_and(|found| found.contains(&address))
    };
    let good: Vec<_> = names
        .iter()
        .filter(resolves_back)
        .map(|(name, _)| name)
        .collect();
    let Some(first) = good.first() else {
        let why: Vec<_> = names.iter().map(|named| flaw(address, named)).collect();
        let text = format!("{address}: {}", why.join("; "));
        return Finding::fail(PTR, text).with(record);
    };
    if !good.iter().any(|name| name.eq_ignore_ascii_case(hostname)) {
        let text = format!(
            "{address} is {first}, which resolves back to it, but this relay sends EHLO {hostname}; use \
             the same name for both"
        );
        return Finding::warn(PTR, text).with(record);
    }
    if looks_assigned(address, hostname) {
        let text = format!(
            "{address} is {hostname}: some receivers take such a name for that of a dynamic address"
        );
        return Finding::warn(PTR, text);
    }
    Finding::ok(
        PTR,
        format!("{address} is {hostname}, which resolves back to it"),
    )
}

fn flaw(address: IpAddr, (name, found): &Named) -> String {
    if !is_host_name(name) {
        return format!("its name {name:?} is not a valid host name");
    }
    match found {
        Ok(found) => {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            format!("{name} resolves to {}, not to {address}", found.join(", "))
        }
        Err(reason) => format!("{name} does not resolve: {reason}"),
    }
}

/// Returns whether the name is fully qualified and consists of letters, digits and hyphens (RFC
/// 1123 §2.1).
fn is_host_name(name: &str) -> bool {
    let is_ldh = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    let last = name.rsplit('.').next().unwrap_or(name);
    is_domain(name) && name.contains('.') && name.bytes().all(is_ldh) && !is_number(last)
}

/// Returns whether the name contains all four parts of the address, as in
/// `192-0-2-7.pool.example.net`.
fn looks_assigned(address: IpAddr, name: &str) -> bool {
    let IpAddr::V4(address) = address.to_canonical() else {
        return false;
    };
    let mut numbers: Vec<_> = name.split(|c: char| !c.is_ascii_digit()).collect();
    let octets = address.octets();
    octets.iter().all(|octet| {
        let found = numbers.iter().position(|n| *n == octet.to_string());
        found.map(|i| numbers.swap_remove(i)).is_some()
    })
}

/// Checks the name in EHLO.
pub(super) async fn helo(dns: &Dns, hostname: &str, addresses: &[IpAddr]) -> Finding {
    let found = dns.addresses(hostname, IpFamily::Any).await;
    judge_helo(hostname, addresses, found)
}

fn judge_helo(
    hostname: &str,
    addresses: &[IpAddr],
    found: Result<Vec<IpAddr>, LookupError>,
) -> Finding {
    if !is_host_name(hostname) || hostname.split('.').next() == Some("localhost") {
        let text = format!(
            "{hostname:?} is not a fully qualified host name: set hostname in the configuration"
        );
        return Finding::fail(HELO, text);
    }
    let record = addresses.first().map(|address| {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        format!("{hostname}. IN {kind} {address}")
    });
    let with = |finding: Finding| Finding { record, ..finding };
    match found {
        Ok(found) => match addresses.iter().find(|address| !found.contains(address)) {
            None => Finding::ok(HELO, format!("{hostname} resolves to this relay")),
            Some(other) => with(Finding::warn(
                HELO,
                format!("{hostname} does not resolve to {other}"),
            )),
        },
        Err(LookupError::NoSuchName | LookupError::NoRecords) => {
            with(Finding::fail(HELO, format!("{hostname} has no address")))
        }
        Err(reason) => Finding::fail(HELO, format!("{hostname}: cannot be looked up: {reason}")),
    }
}

/// Returns the name of the PTR record of an address (RFC 1035 §3.5, RFC 3596 §2.5).
pub(super) fn reverse(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(_) => format!("{}.in-addr.arpa.", backwards(address)),
        IpAddr::V6(_) => format!("{}.ip6.arpa.", backwards(address)),
    }
}

/// Returns the parts of an address in reverse order: octets of IPv4, half octets of IPv6.
pub(super) fn backwards(address: IpAddr) -> String {
    let parts: Vec<String> = match address.to_canonical() {
        IpAddr::V4(address) => address
            .octets()
            .iter()
            .rev()
            .map(ToString::to_string)
            .collect(),
        IpAddr::V6(address) => {
            let halves = |octet: &u8| [octet & 15, octet >> 4];
            let halves = address
                .octets()
                .into_iter()
                .rev()
                .flat_map(|octet| halves(&octet));
            halves.map(|half| format!("{half:x}")).collect()
        }
    };
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_name_of_an_address_must_be_valid_and_resolve_back() {
        let here = || Ok(vec![ip("192.0.2.7")]);
        for (names, level, word) in [
            (Ok(vec![("mx.test", here())]), Level::Ok, "resolves back"),
            (
                Ok(vec![("other.test", here())]),
                Level::Warn,
                "EHLO mx.test",
            ),
            (
                Ok(vec![("mx.test", Ok(vec![ip("192.0.2.8")]))]),
                Level::Fail,
                "resolves to 192.0.2.8",
            ),
            (
                Ok(vec![("mx.test", Err(LookupError::NoSuchName))]),
                Level::Fail,
                "does not resolve",
            ),
            (
                Ok(vec![("my_host.test", here())]),
                Level::Fail,
                "not a valid host name",
            ),
            (
                Ok(vec![("host", here())]),
                Level::Fail,
                "not a valid host name",
            ),
            (
                Ok(vec![
                    ("gone.test", Err(LookupError::NoRecords)),
                    ("mx.test", here()),
                ]),
                Level::Ok,
                "mx.test",
            ),
            (
                Err(LookupError::NoSuchName),
                Level::Fail,
                "has no PTR record",
            ),
            (
                Err(LookupError::Unavailable("timeout".to_owned())),
                Level::Fail,
                "cannot be looked up: timeout",
            ),
        ] {
            let names = names.map(|n| n.into_iter().map(|(n, f)| (n.to_owned(), f)).collect());
            let finding = judge_ptr(ip("192.0.2.7"), "mx.test", names);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.text.contains(word), "{finding:?}");
        }
    }

    #[test]
    fn a_missing_ptr_record_is_printed_as_a_zone_file_line() {
        let missing = || Err(LookupError::NoSuchName);
        let four = judge_ptr(ip("192.0.2.7"), "mx.test", missing());
        let record = "7.2.0.192.in-addr.arpa. IN PTR mx.test.";
        assert_eq!(four.record.as_deref(), Some(record));
        let six = judge_ptr(ip("2001:db8::1"), "mx.test", missing());
        let start = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. IN";
        assert!(six.record.is_some_and(|r| r.starts_with(start)));
    }

    #[test]
    fn a_name_made_of_the_address_is_suspicious() {
        for (name, expected) in [
            ("192-0-2-7.pool.test", true),
            ("ip7.2.0.192.dyn.test", true),
            ("mx7.test", false),
            ("mx-192-0-2.test", false),
        ] {
            assert_eq!(looks_assigned(ip("192.0.2.7"), name), expected, "{name}");
        }
    }

    #[test]
    fn the_name_in_ehlo_must_be_fully_qualified_and_resolve_to_this_relay() {
        let here = [ip("192.0.2.7")];
        for (name, found, level) in [
            ("mx.test", Ok(vec![ip("192.0.2.7")]), Level::Ok),
            ("mx.test", Ok(vec![ip("192.0.2.8")]), Level::Warn),
            ("mx.test", Err(LookupError::NoSuchName), Level::Fail),
            ("mx.test", Err(LookupError::NoRecords), Level::Fail),
            ("host", Ok(vec![ip("192.0.2.7")]), Level::Fail),
            (
                "localhost.localdomain",
                Ok(vec![ip("192.0.2.7")]),
                Level::Fail,
            ),
        ] {
            let finding = judge_helo(name, &here, found);
            assert_eq!(finding.level, level, "{finding:?}");
        }
        let missing = judge_helo("mx.test", &here, Err(LookupError::NoRecords));
        assert_eq!(missing.record.as_deref(), Some("mx.test. IN A 192.0.2.7"));
    }
}
