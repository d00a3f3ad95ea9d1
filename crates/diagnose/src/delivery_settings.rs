//! The relay's settings for deliveries. The commands connect to other servers in the same way.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use relay_config::ConfigError;

use crate::config::{ConfigFile, LoadedConfig};
use crate::error::Error;

/// RFC 1035 §4.2
const DNS_PORT: u16 = 53;

/// The keys that are needed to connect to other servers.
const KEYS: &[&str] = &[
    "hostname",
    "listener.address",
    "delivery.port",
    "delivery.connect_timeout",
    "delivery.command_timeout",
    "delivery.ip",
    "delivery.refuse_addresses",
    "delivery.ca_file",
    "dns.servers",
];

/// The DNS servers to ask.
#[derive(Debug, Default, Args)]
pub struct DnsArgs {
    /// Ask this DNS server, ADDRESS[:PORT]; repeatable [default: as relayd]
    #[arg(long = "dns", value_name = "SERVER", value_parser = server)]
    servers: Vec<SocketAddr>,
}

/// The error for an argument that names no DNS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address, nor an address with a port")]
struct NotAServer;

fn server(text: &str) -> Result<SocketAddr, NotAServer> {
    let bare = || text.parse().map(|ip: IpAddr| (ip, DNS_PORT).into());
    text.parse().or_else(|_| bare()).map_err(|_| NotAServer)
}

/// Reads the relay's settings for deliveries, without its routes.
pub(crate) fn settings(config: &ConfigFile, dns: &DnsArgs) -> Result<relay_remote::Config, Error> {
    of_config(&config.load()?, dns)
}

/// Returns the relay's settings for deliveries, without its routes. If it has no configuration, they are the
/// defaults.
pub(crate) fn of_config(
    config: &LoadedConfig,
    dns: &DnsArgs,
) -> Result<relay_remote::Config, Error> {
    config.require(KEYS)?;
    let hostname = relay_routing::hostname(config.file())
        .map_err(|reason| ConfigError::of_file(config.path(), reason.to_string()))?;
    let mut settings = relay_routing::delivery_settings(config.file(), hostname);
    if !dns.servers.is_empty() {
        settings.dns_servers.clone_from(&dns.servers);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::parse;
    use relay_remote::IpFamily;

    fn settings(text: &str) -> Result<relay_remote::Config, Error> {
        of_config(&parse(text)?, &DnsArgs::default())
    }

    #[test]
    fn the_settings_are_those_of_the_configuration() {
        let read = settings(
            "hostname = \"mx.test\"\nunknown = 1\n[[listener]]\naddress = \"127.0.0.1:26\"\n\
             [[listener]]\naddress = \"unix:/run/s\"\n[delivery]\nport = 26\nip = \"v4\"\n\
             connect_timeout = \"3s\"\nrefuse_addresses = []\n[dns]\nservers = [\"127.0.0.1:53\"]",
        );
        let read = read.expect("settings");
        assert_eq!((read.hostname.as_str(), read.port), ("mx.test", 26));
        assert_eq!((read.ip, read.connect_timeout.as_secs()), (IpFamily::V4, 3));
        assert!(read.refuse_addresses.is_empty());
        assert_eq!(read.own_addresses, ["127.0.0.1:26".parse().expect("one")]);
        assert_eq!(read.dns_servers, ["127.0.0.1:53".parse().expect("one")]);
    }

    #[test]
    fn a_key_that_is_not_given_has_the_default_of_the_relay() {
        let read = settings("hostname = \"mx.test\"").expect("settings");
        let default = relay_remote::Config::default();
        assert_eq!(read.port, 25);
        assert_eq!(read.refuse_addresses, default.refuse_addresses);
        assert_eq!(read.command_timeout, default.command_timeout);
        assert_eq!(read.own_addresses, ["[::]:25".parse().expect("one")]);
    }

    #[test]
    fn an_invalid_value_is_reported_with_its_key() {
        for (text, key) in [
            ("[delivery]\nip = \"v5\"", "delivery.ip"),
            (
                "[delivery]\nconnect_timeout = \"soon\"",
                "delivery.connect_timeout",
            ),
            ("[dns]\nservers = [\"nowhere\"]", "servers"),
        ] {
            let reason = settings(&format!("hostname = \"h\"\n{text}")).expect_err(text);
            assert!(reason.to_string().contains(key), "{reason}");
        }
    }

    #[test]
    fn a_problem_with_a_key_that_is_not_needed_is_ignored() {
        let text = "hostname = \"h\"\n[delivery]\nconcurrency = 0\n[[route]]\nport = 0\n";
        assert!(settings(text).is_ok());
    }

    #[test]
    fn a_dns_server_has_port_53_unless_another_is_given() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]:54", "[2001:db8::1]:54"),
        ] {
            assert_eq!(server(text).map(|s| s.to_string()), Ok(expected.to_owned()));
        }
        assert!(server("dns.test").is_err());
    }
}
