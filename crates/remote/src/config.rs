//! The settings of deliveries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::route::Route;

/// The settings of deliveries, from `[delivery]`, `[[route]]` and `[dns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The relay's name in EHLO. An MX with this name is the relay itself.
    pub hostname: String,
    /// The port of MX hosts.
    pub port: u16,
    /// How long one address may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long the peer may take for a reply, or to accept a block of the message. The reply to
    /// the final dot may take twice as long (RFC 5321 §4.5.3.2).
    pub command_timeout: Duration,
    /// The address families in use.
    pub ip: IpFamily,
    /// Networks that an MX or an address literal must not lead to. Unspecified addresses are always
    /// refused.
    pub refuse_addresses: Vec<IpNet>,
    /// Routes to smarthosts. The first match wins; without a match, mail goes to the MX.
    pub routes: Vec<Route>,
    /// A file of certificate authorities (PEM) that are trusted beside the system's. It is read
    /// again with every new configuration.
    pub ca_file: Option<PathBuf>,
    /// DNS servers. If there are none, those of the system are used.
    pub dns_servers: Vec<SocketAddr>,
    /// The addresses of the relay's own listeners, to detect mail loops. The unspecified address
    /// means every address of this machine.
    pub own_addresses: Vec<SocketAddr>,
}

/// Which addresses of a host are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv6 and IPv4 in turn, IPv6 first.
    #[default]
    Any,
    /// Only IPv4.
    V4,
    /// Only IPv6.
    V6,
}

impl IpFamily {
    pub(crate) fn allows_v4(self) -> bool {
        self != IpFamily::V6
    }

    pub(crate) fn allows_v6(self) -> bool {
        self != IpFamily::V4
    }
}

impl Config {
    pub(crate) fn refuses(&self, address: IpAddr) -> bool {
        // `::ffff:127.0.0.1` is the same host as 127.0.0.1.
        let address = address.to_canonical();
        // A connection to the unspecified address goes to loopback.
        let leads_to_us = address.is_unspecified();
        let mut refused = self.refuse_addresses.iter();
        leads_to_us || refused.any(|net| net.contains(&address))
    }

    pub(crate) fn is_own_name(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.hostname)
    }

    pub(crate) fn is_own_address(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let mut own = self.own_addresses.iter().filter(|own| own.port() == port);
        own.any(|own| match own.ip() {
            // A listener on `[::]` also accepts IPv4.
            IpAddr::V6(any) if any.is_unspecified() => is_here(ip),
            IpAddr::V4(any) if any.is_unspecified() => ip.is_ipv4() && is_here(ip),
            bound => bound.to_canonical() == ip,
        })
    }
}

/// Whether an address belongs to this machine: the system would connect to it from the same
/// address. No packet is sent.
fn is_here(ip: IpAddr) -> bool {
    let any = match ip {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    ip.is_loopback()
        || UdpSocket::bind((any, 0))
            .and_then(|socket| {
                // Any port will do except 0.
                socket.connect((ip, 9))?;
                socket.local_addr()
            })
            .is_ok_and(|source| source.ip() == ip)
}

/// The defaults of the configuration file, with `localhost` as the host name.
impl Default for Config {
    fn default() -> Self {
        let nets = ["127.0.0.0/8", "::1/128", "0.0.0.0/8"];
        Self {
            hostname: "localhost".to_owned(),
            port: 25,
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_mins(5),
            ip: IpFamily::Any,
            refuse_addresses: nets.map(|n| n.parse().expect("a network")).into(),
            routes: Vec::new(),
            ca_file: None,
            dns_servers: Vec::new(),
            own_addresses: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_refused_in_every_notation() {
        let config = Config::default();
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::ffff:0.0.0.0",
        ] {
            assert!(
                config.refuses(address.parse().expect("an address")),
                "{address}"
            );
        }
        assert!(!config.refuses("192.0.2.1".parse().expect("an address")));
    }

    #[test]
    fn the_unspecified_address_is_refused_without_any_refused_networks() {
        let config = Config {
            refuse_addresses: Vec::new(),
            ..Config::default()
        };
        for address in ["::", "0.0.0.0", "::ffff:0.0.0.0"] {
            let address = address.parse().expect("an address");
            assert!(config.refuses(address), "{address}");
        }
        assert!(!config.refuses("::1".parse().expect("an address")));
    }

    #[test]
    fn an_own_address_must_match_with_its_port() {
        let config = Config {
            own_addresses: vec!["192.0.2.1:25".parse().expect("an address")],
            ..Config::default()
        };
        let own = |a: &str| config.is_own_address(a.parse().expect("an address"));
        assert!(own("192.0.2.1:25") && own("[::ffff:192.0.2.1]:25"));
        assert!(!own("192.0.2.1:2525") && !own("192.0.2.2:25"));
    }

    #[test]
    fn a_listener_on_every_address_matches_every_address_of_this_machine() {
        let listening = |bound: &str| Config {
            own_addresses: vec![bound.parse().expect("an address")],
            ..Config::default()
        };
        let own = |config: &Config, a: &str| config.is_own_address(a.parse().expect("an address"));
        let (four, any) = (listening("0.0.0.0:25"), listening("[::]:25"));
        for address in ["127.0.0.1:25", "127.9.9.9:25", "[::ffff:127.0.0.1]:25"] {
            assert!(own(&four, address) && own(&any, address), "{address}");
        }
        assert!(!own(&four, "[::1]:25") && own(&any, "[::1]:25"));
        for address in ["127.0.0.1:2525", "192.0.2.1:25", "[2001:db8::1]:25"] {
            assert!(!own(&four, address) && !own(&any, address), "{address}");
        }
        // The address that this machine sends from is its own, if it has a route at all.
        let out = UdpSocket::bind("0.0.0.0:0").and_then(|s| {
            s.connect("192.0.2.1:9")?;
            s.local_addr()
        });
        if let Ok(mut address) = out {
            address.set_port(25);
            assert!(any.is_own_address(address), "{address}");
        }
    }
}
