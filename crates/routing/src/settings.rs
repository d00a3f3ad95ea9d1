//! `hostname`, `[delivery]`, `[dns]`, and the addresses of `[[listener]]`.

use std::path::Path;

use relay_config::hostname::{self as system, HostnameError};
use relay_config::schema::{self, File, given};
use relay_config::values::values;
use relay_config::{ConfigError, Source, Strict};
use relay_remote::{Config, IpFamily};

use crate::routes::routes;

/// Reads a file strictly and returns the settings of deliveries. The error names the line.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    let text = relay_config::read_text(file)?;
    let Strict { file, source } = Strict::parse(file, &text)?;
    of_file(&file, &source)
}

/// Returns the settings of deliveries, with the routes. The error names the line.
pub fn of_file(file: &File, source: &Source<'_>) -> Result<Config, ConfigError> {
    let routes = routes(file).map_err(|problem| problem.at_its_line(source))?;
    let hostname =
        hostname(file).map_err(|reason| ConfigError::of_file(source.file(), reason.to_string()))?;
    Ok(Config {
        routes,
        ..delivery_settings(file, hostname)
    })
}

/// Returns the relay's own name: `hostname`, or the full name of this machine.
pub fn hostname(file: &File) -> Result<String, HostnameError> {
    match &file.hostname {
        Some(name) => Ok(name.0.0.clone()),
        None => system::of_system(),
    }
}

/// Returns the settings of deliveries without the routes.
pub fn delivery_settings(file: &File, hostname: String) -> Config {
    let delivery = &file.delivery;
    let listeners = file.listener.iter();
    Config {
        hostname,
        port: delivery.port.0,
        connect_timeout: delivery.connect_timeout.0,
        command_timeout: delivery.command_timeout.0,
        ip: match delivery.ip {
            schema::Ip::Any => IpFamily::Any,
            schema::Ip::V4 => IpFamily::V4,
            schema::Ip::V6 => IpFamily::V6,
        },
        refuse_addresses: values(delivery.refuse_addresses.clone()),
        routes: Vec::new(),
        ca_file: given(&delivery.ca_file).map(Path::to_owned),
        dns_servers: values(file.dns.servers.clone()),
        own_addresses: listeners.filter_map(|l| l.address.0.tcp()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Config, ConfigError> {
        let text = format!("hostname = \"mx.test\"\n{text}");
        let Strict { file, source } = Strict::parse(Path::new("relayd.toml"), &text)?;
        of_file(&file, &source)
    }

    #[test]
    fn each_key_of_the_file_is_in_the_settings() {
        let read = settings(
            "[[listener]]\naddress = \"127.0.0.1:26\"\n[[listener]]\naddress = \"unix:/run/s\"\n\
             [delivery]\nport = 26\nip = \"v4\"\nconnect_timeout = \"3s\"\ncommand_timeout = \"4s\"\n\
             refuse_addresses = []\nca_file = \"/ca.pem\"\n[dns]\nservers = [\"127.0.0.1:53\"]\n\
             [[route]]\ndomain = \"*\"\nhost = [\"smtp.test\"]\n",
        );
        let expected = Config {
            hostname: "mx.test".to_owned(),
            port: 26,
            connect_timeout: std::time::Duration::from_secs(3),
            command_timeout: std::time::Duration::from_secs(4),
            ip: IpFamily::V4,
            refuse_addresses: Vec::new(),
            routes: read.as_ref().map(|c| c.routes.clone()).unwrap_or_default(),
            ca_file: Some("/ca.pem".into()),
            dns_servers: vec!["127.0.0.1:53".parse().expect("an address")],
            own_addresses: vec!["127.0.0.1:26".parse().expect("an address")],
        };
        assert_eq!(read.as_ref(), Ok(&expected));
        assert_eq!(expected.routes.len(), 1);
    }

    #[test]
    fn the_defaults_of_the_file_are_those_of_deliveries() {
        let expected = Config {
            hostname: "mx.test".to_owned(),
            own_addresses: vec!["[::]:25".parse().expect("an address")],
            ..Config::default()
        };
        assert_eq!(settings(""), Ok(expected));
    }

    #[test]
    fn a_route_that_cannot_be_used_is_an_error_with_its_line() {
        let error = settings("[[route]]\ndomain = \"*\"\nhost = [\"a b\"]\n");
        let expected = "relayd.toml:4: route.host: bad host \"a b\"";
        assert!(error.is_err_and(|e| e.to_string().starts_with(expected)));
    }
}
