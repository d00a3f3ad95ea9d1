//! The configuration file: read once, strictly; a [`Config`] is known to be good.

mod error;
mod file;
mod hostname;
mod networks;
mod parts;
mod values;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use relay_remote::{IpFamily, Route};
use relay_smtp::Mailbox;
use relay_smtp::body::BareNewline;
use relay_smtpd::{Limits, ListenerConfig, RelayRules, Role};
use serde::Deserialize;

pub use self::error::ConfigError;
use self::error::{Source, Step};
use self::file::{File, RouteTls};
use self::values::{Text, values};
use crate::log::Level;

/// Where the file is, unless the operator says otherwise.
pub const DEFAULT_FILE: &str = "/etc/relayd/relayd.toml";

/// What the operator decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Greeting, EHLO, Received.
    pub hostname: String,
    /// Where double bounces go.
    pub postmaster: Mailbox,
    /// Everything that must not be lost; absolute.
    pub state_dir: PathBuf,
    /// The sockets to listen on; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Who may relay.
    pub relay: RelayRules,
    /// How much comes in.
    pub limits: Limits,
    /// How long mail waits.
    pub queue: Queue,
    /// How mail goes out.
    pub delivery: Delivery,
    /// Smarthosts.
    pub routes: Vec<Route>,
    /// DNS servers; none means the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// The control socket.
    pub control: PathBuf,
    /// The form of the log.
    pub log_format: LogFormat,
    /// How much of the log.
    pub log_level: Level,
}

/// `[queue]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// A message that is older bounces.
    pub lifetime: Duration,
    /// Attempt n at arrival + unit × n².
    pub retry_unit: Duration,
    /// The longest time between two attempts.
    pub retry_max_interval: Duration,
    /// Bytes of the disk that are kept free.
    pub min_free: u64,
}

/// `[delivery]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Deliveries at the same time, in all.
    pub concurrency: u32,
    /// Deliveries at the same time to one destination.
    pub concurrency_per_destination: u32,
    /// Port of MX hosts.
    pub port: u16,
    /// For one address to take the connection.
    pub connect_timeout: Duration,
    /// For one reply.
    pub command_timeout: Duration,
    /// The addresses that are used.
    pub ip: IpFamily,
    /// Where an MX never leads.
    pub refuse_addresses: Vec<ipnet::IpNet>,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for a person.
    Text,
    /// A JSON object on a line.
    Json,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let bytes = fs::read(file)
            .map_err(|reason| ConfigError::of_file(file, format!("cannot be read: {reason}")))?;
        let text = str::from_utf8(&bytes)
            .map_err(|reason| ConfigError::not_utf8(file, &bytes[..reason.valid_up_to()]))?;
        Self::parse(file, text)
    }

    /// Checks the text of a file; `file` is its name in errors.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source::parse(file, text)?;
        let read = toml::from_str::<File>(text).map_err(|error| source.error_of_serde(&error))?;
        let checked = Checked { file: read, source };
        checked.sense()?;
        checked.into_config(file)
    }
}

/// A file whose keys and types are right, with what is needed to say where they stand.
struct Checked<'a> {
    file: File,
    source: Source<'a>,
}

fn key(key: &str) -> Step {
    Step::Key(key.to_owned())
}

impl Checked<'_> {
    /// What only shows when keys are seen together.
    fn sense(&self) -> Result<(), ConfigError> {
        let queue = &self.file.queue;
        if queue.retry_unit.0 > queue.retry_max_interval.0 {
            let interval = humantime::format_duration(queue.retry_max_interval.0);
            let reason = format!(
                "{} is longer than queue.retry_max_interval, {interval}",
                humantime::format_duration(queue.retry_unit.0),
            );
            let path = [key("queue"), key("retry_unit")];
            return Err(self.source.error_at(&path, reason));
        }
        self.no_open_relay()?;
        self.listeners()
    }

    /// Whoever means to relay for the whole internet has to say so twice.
    fn no_open_relay(&self) -> Result<(), ConfigError> {
        let relay = &self.file.relay;
        let everyone = networks::internet(&relay.networks);
        match everyone {
            Some(index) if !relay.open => {
                let path = [key("relay"), key("networks"), Step::Index(index)];
                let reason = format!(
                    "\"{}\" makes an open relay that anyone may send through: \
                     name your own networks, or set relay.open = true",
                    relay.networks[index].0
                );
                Err(self.source.error_at(&path, reason))
            }
            _ => Ok(()),
        }
    }

    fn listeners(&self) -> Result<(), ConfigError> {
        let listeners = &self.file.listener;
        if listeners.is_empty() {
            let reason = "nothing to listen on: add a [[listener]]";
            return Err(self.source.error_at(&[key("listener")], reason));
        }
        for (index, listener) in listeners.iter().enumerate() {
            let address = listener.address.0;
            let same = |other: &file::Listener| other.address.0 == address;
            let path = |name| [key("listener"), Step::Index(index), key(name)];
            if address.port() != 0 && listeners[..index].iter().any(same) {
                let reason = format!("{address} is listened on already");
                return Err(self.source.error_at(&path("address"), reason));
            }
            if let Some(wildcard) = covering(address, listeners) {
                let reason = format!(
                    "{address} is taken by {wildcard} already: \
                     remove one of them, or name each address instead of {wildcard}"
                );
                return Err(self.source.error_at(&path("address"), reason));
            }
            if listener.role != file::Role::Mx {
                let reason = "this version has the role \"mx\" alone";
                return Err(self.source.error_at(&path("role"), reason));
            }
        }
        Ok(())
    }

    fn into_config(self, file: &Path) -> Result<Config, ConfigError> {
        let routes = self.routes()?;
        let limits = self.limits()?;
        let file_error = |reason| ConfigError::of_file(file, reason);
        let File {
            hostname,
            postmaster,
            relay,
            queue,
            delivery,
            ..
        } = self.file;
        let hostname = match hostname {
            Some(name) => name.0.0,
            None => hostname::of_system().map_err(file_error)?,
        };
        let postmaster = match postmaster {
            Some(mailbox) => mailbox.0,
            None => format!("postmaster@{hostname}")
                .parse()
                .map_err(|reason| file_error(format!("postmaster: {reason}: set it")))?,
        };
        let state_dir = std::path::absolute(&self.file.state_dir.0)
            .map_err(|reason| file_error(format!("state_dir: {reason}")))?;
        Ok(Config {
            hostname,
            postmaster,
            state_dir,
            listeners: self.file.listener.iter().map(listener).collect(),
            relay: RelayRules {
                networks: values(relay.networks),
                domains: values(relay.domains),
                bad_senders: values(relay.bad_senders),
            },
            limits,
            queue: Queue {
                lifetime: queue.lifetime.0,
                retry_unit: queue.retry_unit.0,
                retry_max_interval: queue.retry_max_interval.0,
                min_free: queue.min_free.0.as_u64(),
            },
            delivery: delivery_of(delivery),
            routes,
            dns_servers: values(self.file.dns.servers),
            control: self.file.control.socket.0,
            log_format: self.file.log.format,
            log_level: self.file.log.level,
        })
    }

    fn routes(&self) -> Result<Vec<Route>, ConfigError> {
        let routes = self.file.route.iter().enumerate();
        routes
            .map(|(index, route)| self.route(index, route))
            .collect()
    }

    fn route(&self, index: usize, route: &file::Route) -> Result<Route, ConfigError> {
        let path = |name| [key("route"), Step::Index(index), key(name)];
        if route.tls != RouteTls::None {
            let reason = "this version has \"none\" alone: mail goes out in clear text";
            return Err(self.source.error_at(&path("tls"), reason));
        }
        Route::new(&route.domain, &route.host, route.port.0).map_err(|reason| {
            let at = match reason {
                relay_remote::RouteError::Domain(_) => path("domain"),
                _ => path("host"),
            };
            self.source.error_at(&at, reason)
        })
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        let limits = &self.file.limits;
        let octets = |name, size: &Text<ByteSize>| {
            let octets = usize::try_from(size.0.as_u64()).ok();
            octets.filter(|&n| n >= LEAST_LINE).ok_or_else(|| {
                let path = [key("limits"), key(name)];
                let reason = format!("{} must be at least {LEAST_LINE} bytes", size.0);
                self.source.error_at(&path, reason)
            })
        };
        let defaults = Limits::default();
        Ok(Limits {
            connections: limits.connections.into(),
            connections_per_client: limits.connections_per_client.into(),
            session: relay_smtp::server::Limits {
                message_size: octets("message_size", &limits.message_size)? as u64,
                header_size: octets("header_size", &limits.header_size)?,
                line_length: octets("line_length", &limits.line_length)?,
                recipients: limits.recipients.into(),
                errors: limits.errors.0,
                command_timeout: limits.command_timeout.0,
                bare_newline: match limits.bare_newline {
                    file::BareNewline::Refuse => BareNewline::Refuse,
                    file::BareNewline::Normalize => BareNewline::Normalize,
                },
                ..defaults.session
            },
        })
    }
}

/// RFC 5321 §4.5.3.1.6: a line of text may have 1000 octets, and no limit may be below that. Nor is
/// there a size that stands for none, as 0 does in SIZE (RFC 1870 §4) and in qmail.
const LEAST_LINE: usize = 1000;

/// The listener on all addresses that leaves this one no room; `[::]` leaves IPv4 alone where
/// `0.0.0.0` has the same port.
fn covering(address: SocketAddr, listeners: &[file::Listener]) -> Option<SocketAddr> {
    let (ip, port) = (address.ip(), address.port());
    let mut wildcards = listeners
        .iter()
        .map(|listener| listener.address.0)
        .filter(|other| other.port() == port && other.ip().is_unspecified());
    let covers = |other: &SocketAddr| other.is_ipv6() || ip.is_ipv4();
    if port == 0 || ip.is_unspecified() {
        None
    } else {
        wildcards.find(covers)
    }
}

fn listener(listener: &file::Listener) -> ListenerConfig {
    ListenerConfig {
        address: listener.address.0,
        role: Role::Mx,
    }
}

fn delivery_of(delivery: file::Delivery) -> Delivery {
    Delivery {
        concurrency: delivery.concurrency.0,
        concurrency_per_destination: delivery.concurrency_per_destination.0,
        port: delivery.port.0,
        connect_timeout: delivery.connect_timeout.0,
        command_timeout: delivery.command_timeout.0,
        ip: match delivery.ip {
            file::Ip::Any => IpFamily::Any,
            file::Ip::V4 => IpFamily::V4,
            file::Ip::V6 => IpFamily::V6,
        },
        refuse_addresses: values(delivery.refuse_addresses),
    }
}

#[cfg(test)]
mod tests;
