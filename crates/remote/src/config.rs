//! What the operator decides about deliveries.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::route::Route;

/// The settings of deliveries, as `[delivery]`, `[[route]]` and `[dns]` name them.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name in EHLO; an MX of this name is ourselves.
    pub hostname: String,
    /// The port of MX hosts.
    pub port: u16,
    /// For one address to accept the connection.
    pub connect_timeout: Duration,
    /// For one reply, or for one piece of a message to be taken; twice this for the reply to the
    /// final dot (RFC 5321 §4.5.3.2).
    pub command_timeout: Duration,
    /// The addresses that are used.
    pub ip: IpFamily,
    /// Where an MX or an address literal must never lead; beside the unspecified addresses.
    pub refuse_addresses: Vec<IpNet>,
    /// Smarthosts; the first that matches wins, none means MX.
    pub routes: Vec<Route>,
    /// DNS servers; none means those of the system.
    pub dns_servers: Vec<SocketAddr>,
    /// What our own listeners are bound to, to see mail that would come back to us.
    pub own_addresses: Vec<SocketAddr>,
}

/// Which addresses of a host are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv6 and IPv4 in turn, IPv6 first.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
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
        // `::ffff:127.0.0.1` leads where 127.0.0.1 does.
        let address = address.to_canonical();
        // To connect to the unspecified address is to connect to loopback.
        let leads_to_us = address.is_unspecified();
        let mut refused = self.refuse_addresses.iter();
        leads_to_us || refused.any(|net| net.contains(&address))
    }

    pub(crate) fn is_own_name(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.hostname)
    }

    pub(crate) fn is_own_address(&self, address: SocketAddr) -> bool {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.own_addresses.contains(&address)
    }
}

/// The defaults of the configuration file, with `localhost` for a name.
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
            dns_servers: Vec::new(),
            own_addresses: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_refused_in_any_spelling() {
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
    fn the_unspecified_address_is_refused_though_no_network_is() {
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
    fn our_own_address_counts_with_its_port() {
        let config = Config {
            own_addresses: vec!["192.0.2.1:25".parse().expect("an address")],
            ..Config::default()
        };
        let own = |a: &str| config.is_own_address(a.parse().expect("an address"));
        assert!(own("192.0.2.1:25") && own("[::ffff:192.0.2.1]:25"));
        assert!(!own("192.0.2.1:2525") && !own("192.0.2.2:25"));
    }
}
