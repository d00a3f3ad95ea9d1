//! Finds the addresses from which receivers see connections of this relay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use relay_remote::dns::Dns;
use relay_remote::{Config, IpFamily, Route, RouteHost, RouteTls};
use relay_smtp::client::TlsUse;

use super::finding::Finding;
use crate::probe::Target;

const ADDRESS: &str = "address";
/// Addresses to ask the system for the route to the internet. They are reserved for documentation,
/// so they belong to nobody. Nothing is sent to them.
const WORLD: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        9,
    ),
];

/// The hosts to which all mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Smarthost {
    /// The name of the first host.
    name: String,
    pub(super) targets: Vec<Target>,
    /// How TLS is used with these hosts.
    pub(super) tls: TlsUse,
}

/// The addresses from which mail is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sending {
    /// The addresses. Empty if a smarthost forwards all mail.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) finding: Finding,
}

/// Uses the given addresses, or detects them.
pub(super) async fn sending(given: &[IpAddr], dns: &Dns, config: &Config) -> Sending {
    if !given.is_empty() {
        return judge(given.to_vec(), "given with --address");
    }
    if let Some(Smarthost { name, .. }) = smarthost(&config.routes) {
        let text = format!("all mail is sent through {name}, so only that host's address matters");
        return Sending {
            addresses: Vec::new(),
            finding: Finding::info(ADDRESS, text),
        };
    }
    let ours: Vec<_> = WORLD.into_iter().filter_map(way_out).collect();
    let of_hostname = if !ours.is_empty() && ours.iter().all(is_public) {
        Vec::new()
    } else {
        let found = dns.addresses(&config.hostname, config.ip).await;
        found.unwrap_or_default()
    };
    let (addresses, is_own) = of_families(&ours, &of_hostname, config.ip);
    let how = if is_own {
        "used by this machine for outgoing connections"
    } else {
        "of the hostname, because this machine's own address is not public"
    };
    judge(addresses, how)
}

/// For each address family in use, returns the address of the machine itself or, behind address
/// translation, that of the hostname. The second value is whether all are the machine's own.
fn of_families(ours: &[IpAddr], of_hostname: &[IpAddr], family: IpFamily) -> (Vec<IpAddr>, bool) {
    let is_used = |address: &&IpAddr| match family {
        IpFamily::Any => true,
        IpFamily::V4 => address.is_ipv4(),
        IpFamily::V6 => address.is_ipv6(),
    };
    let mut addresses = Vec::new();
    let mut is_own = true;
    for own in ours.iter().filter(is_used) {
        if is_public(own) {
            addresses.push(*own);
            continue;
        }
        let outside = of_hostname
            .iter()
            .filter(|found| found.is_ipv4() == own.is_ipv4() && is_public(found));
        let known = addresses.len();
        addresses.extend(outside);
        is_own &= addresses.len() == known;
    }
    if addresses.is_empty() {
        let all = of_hostname.iter().filter(is_used);
        return (all.copied().filter(is_public).collect(), false);
    }
    (addresses, is_own)
}

fn judge(mut addresses: Vec<IpAddr>, how: &str) -> Sending {
    let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let private = addresses.iter().find(|address| is_private(address));
    let finding = match (private, addresses.is_empty()) {
        (_, true) => Finding::fail(
            ADDRESS,
            "cannot find the public address of this machine: give it with --address",
        ),
        (Some(private), _) => Finding::fail(ADDRESS, format!("{private} is not a public address")),
        (None, false) => Finding::ok(ADDRESS, format!("{} ({how})", names.join(", "))),
    };
    // Neither name servers nor block lists have data about these addresses.
    addresses.retain(is_public);
    Sending { addresses, finding }
}

/// Returns the smarthost if all mail is sent to the same one.
pub(super) fn smarthost(routes: &[Route]) -> Option<Smarthost> {
    let route = routes.iter().find(|route| route.takes_all())?;
    let names: Vec<_> = route.hosts().iter().map(RouteHost::name).collect();
    let target = |host: &str| match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, route.port())
            .to_string()
            .parse()
            .ok(),
        Err(_) => format!("{host}:{}", route.port()).parse().ok(),
    };
    Some(Smarthost {
        name: names.first()?.clone().into_owned(),
        targets: names.iter().filter_map(|name| target(name)).collect(),
        tls: match route.tls() {
            RouteTls::Implicit => TlsUse::Active,
            RouteTls::Require => TlsUse::Required,
            RouteTls::Opportunistic => TlsUse::IfOffered,
            RouteTls::None => TlsUse::Never,
        },
    })
}

/// Returns the local address that the system would use to reach `to`.
fn way_out(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn is_public(address: &IpAddr) -> bool {
    !is_private(address)
}

/// Returns whether the address is private (RFC 1918, RFC 6598, RFC 4193), or never leaves a machine
/// or its link.
fn is_private(address: &IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && second & 0b1100_0000 == 64;
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || is_shared
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn no_receiver_sees_a_private_address() {
        for (address, private) in [
            ("10.1.2.3", true),
            ("192.168.0.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("127.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("192.0.2.7", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(&ip(address)), private, "{address}");
            let level = if private { Level::Fail } else { Level::Ok };
            let judged = judge(vec![ip(address)], "x");
            assert_eq!(judged.finding.level, level);
            assert_eq!(
                judged.addresses.is_empty(),
                private,
                "{address} is not looked up"
            );
        }
        assert_eq!(judge(Vec::new(), "x").finding.level, Level::Fail);
    }

    #[test]
    fn each_address_family_that_mail_is_sent_with_is_checked() {
        let (public4, public6) = ("192.0.2.7", "2001:db8::7");
        let (private4, private6) = ("10.0.0.7", "fd00::7");
        for (ours, hostname, family, expected) in [
            (
                &[private4, public6][..],
                &[public4][..],
                IpFamily::Any,
                &[public4, public6][..],
            ),
            (&[private4, public6], &[public4], IpFamily::V4, &[public4]),
            (&[public4, public6], &[], IpFamily::V4, &[public4]),
            (&[public4], &["2001:db8::9"], IpFamily::Any, &[public4]),
            (&[private4, private6], &[public4], IpFamily::Any, &[public4]),
            (&[public4, private6], &[public4], IpFamily::Any, &[public4]),
            (&[], &[public4, private6], IpFamily::Any, &[public4]),
            (&[private4], &[], IpFamily::Any, &[]),
        ] {
            let ips = |texts: &[&str]| texts.iter().map(|text| ip(text)).collect::<Vec<_>>();
            let (found, _) = of_families(&ips(ours), &ips(hostname), family);
            assert_eq!(found, ips(expected), "{ours:?} {hostname:?} {family:?}");
        }
    }

    #[tokio::test]
    async fn with_a_smarthost_for_all_mail_our_own_address_is_not_checked() {
        let dns = Dns::new(&[]);
        let route = |domain: &str, tls| {
            let hosts = ["smtp.test", "192.0.2.9"];
            let route = Route::new(domain, hosts, 587).and_then(|r| r.with_tls(tls, None));
            route.expect("a route")
        };
        let require = RouteTls::Require;
        let all = vec![route("a.test", require), route("*", require)];
        let config = Config {
            routes: all.clone(),
            ..Config::default()
        };
        let sending = sending(&[], &dns, &config).await;
        assert!(sending.addresses.is_empty() && sending.finding.level == Level::Info);
        let found = smarthost(&all).expect("one");
        assert_eq!(found.name, "smtp.test");
        let targets = ["smtp.test:587", "192.0.2.9:587"].map(|t| t.parse().expect("a target"));
        assert_eq!(found.targets, targets);
        assert_eq!(found.tls, TlsUse::Required);
        let sender = "a@b.test".parse().expect("a pattern");
        for some in [
            route("a.test", require),
            route("*", require).with_sender(sender),
        ] {
            assert_eq!(smarthost(&[some]), None);
        }
    }

    #[test]
    fn a_smarthost_is_checked_with_the_tls_that_deliveries_use() {
        for (tls, expected) in [
            (RouteTls::Require, TlsUse::Required),
            (RouteTls::Opportunistic, TlsUse::IfOffered),
            (RouteTls::Implicit, TlsUse::Active),
            (RouteTls::None, TlsUse::Never),
        ] {
            let route = Route::new("*", ["smtp.test"], 25).and_then(|r| r.with_tls(tls, None));
            let found = smarthost(&[route.expect("a route")]).expect("a smarthost");
            assert_eq!(found.tls, expected, "{tls:?}");
        }
    }
}
