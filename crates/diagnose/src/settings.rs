//! The relay's settings for deliveries. The tools connect to other servers in the same way.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use relay_config::hostname;
use relay_remote::IpFamily;
use serde::Deserialize;

use crate::config::ConfigFile;
use crate::error::Error;

/// RFC 1035 §4.2
const DNS_PORT: u16 = 53;

/// The DNS servers to ask.
#[derive(Debug, Args)]
pub struct DnsArgs {
    /// Ask this DNS server, ADDRESS[:PORT]; repeatable [default: as relayd]
    #[arg(long = "dns", value_name = "SERVER", value_parser = server)]
    servers: Vec<SocketAddr>,
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.parse().map(|ip: IpAddr| (ip, DNS_PORT).into());
    let parsed = text.parse().or_else(|_| bare());
    parsed.map_err(|_| "not an address, nor an address with a port".to_owned())
}

/// Returns the relay's settings, or the defaults if it has no configuration.
pub(crate) fn settings(config: &ConfigFile, dns: &DnsArgs) -> Result<relay_remote::Config, Error> {
    let keys: Keys = config.load()?.keys()?;
    let mut settings = keys.settings().map_err(|reason| config.error(reason))?;
    if !dns.servers.is_empty() {
        settings.dns_servers.clone_from(&dns.servers);
    }
    Ok(settings)
}

/// The keys of the configuration that matter for deliveries.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    hostname: Option<String>,
    listener: Option<Vec<Listener>>,
    delivery: Delivery,
    dns: Dns,
}

#[derive(Debug, Deserialize)]
struct Listener {
    /// The address of a TCP socket, or the path of a Unix socket.
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delivery {
    port: Option<u16>,
    connect_timeout: Option<String>,
    command_timeout: Option<String>,
    ip: Option<String>,
    refuse_addresses: Option<Vec<IpNet>>,
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Dns {
    servers: Vec<SocketAddr>,
}

impl Keys {
    fn settings(self) -> Result<relay_remote::Config, String> {
        let default = relay_remote::Config::default();
        let delivery = self.delivery;
        let own_addresses = match self.listener {
            Some(listeners) => listeners
                .iter()
                .filter_map(|l| l.address.parse().ok())
                .collect(),
            None => vec![(Ipv6Addr::UNSPECIFIED, 25).into()],
        };
        Ok(relay_remote::Config {
            hostname: match self.hostname {
                Some(name) => name,
                None => hostname::of_system().map_err(|e| e.to_string())?,
            },
            port: delivery.port.unwrap_or(default.port),
            connect_timeout: duration(
                delivery.connect_timeout,
                "connect_timeout",
                default.connect_timeout,
            )?,
            command_timeout: duration(
                delivery.command_timeout,
                "command_timeout",
                default.command_timeout,
            )?,
            ip: match delivery.ip.as_deref() {
                None | Some("any") => IpFamily::Any,
                Some("v4") => IpFamily::V4,
                Some("v6") => IpFamily::V6,
                Some(_) => return Err("delivery.ip: any, v4 or v6".to_owned()),
            },
            refuse_addresses: delivery
                .refuse_addresses
                .unwrap_or(default.refuse_addresses),
            routes: Vec::new(),
            ca_file: delivery.ca_file.filter(|file| !file.as_os_str().is_empty()),
            dns_servers: self.dns.servers,
            own_addresses,
        })
    }
}

fn duration(text: Option<String>, key: &str, default: Duration) -> Result<Duration, String> {
    let Some(text) = text else {
        return Ok(default);
    };
    humantime::parse_duration(&text).map_err(|reason| format!("delivery.{key}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<relay_remote::Config, String> {
        let keys: Keys = toml::from_str(text).map_err(|e| e.to_string())?;
        keys.settings()
    }

    #[test]
    fn the_relay_is_looked_at_as_its_configuration_has_it() {
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
    fn what_is_not_said_is_as_the_relay_has_it() {
        let read = settings("hostname = \"mx.test\"").expect("settings");
        let default = relay_remote::Config::default();
        assert_eq!(read.port, 25);
        assert_eq!(read.refuse_addresses, default.refuse_addresses);
        assert_eq!(read.command_timeout, default.command_timeout);
        assert_eq!(read.own_addresses, ["[::]:25".parse().expect("one")]);
    }

    #[test]
    fn what_makes_no_sense_is_told_by_its_key() {
        for (text, key) in [
            ("[delivery]\nip = \"v5\"", "delivery.ip"),
            (
                "[delivery]\nconnect_timeout = \"soon\"",
                "delivery.connect_timeout",
            ),
            ("[dns]\nservers = [\"nowhere\"]", "servers"),
        ] {
            let reason = settings(&format!("hostname = \"h\"\n{text}")).expect_err(text);
            assert!(reason.contains(key), "{reason}");
        }
    }

    #[test]
    fn a_dns_server_has_port_53_unless_it_is_told_another() {
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
