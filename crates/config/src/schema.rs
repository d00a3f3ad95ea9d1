//! The tables, keys and defaults of the configuration file. `etc/relayd.toml` describes each key.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use relay_smtp::Mailbox;
use relay_smtp::dns_name::{Domain, Selector};
use relay_smtp::pattern::{AddressPattern, DomainPattern};
use serde::Deserialize;

use crate::values::{Count, HostName, ListenAddress, Never, Port, Text};

/// The state directory of the daemon, unless the operator names another one.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/relayd";
/// The control socket of the daemon, unless the operator names another one.
pub const DEFAULT_CONTROL_SOCKET: &str = "/run/relayd/control.sock";
/// The users file, unless the operator names another one.
pub const DEFAULT_USERS_FILE: &str = "/etc/relayd/users";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct File {
    /// `hostname`
    pub hostname: Option<Text<HostName>>,
    /// `postmaster`
    pub postmaster: Option<Text<Mailbox>>,
    /// `state_dir`
    pub state_dir: Text<PathBuf>,
    /// `listener`
    pub listener: Vec<Listener>,
    /// `relay`
    pub relay: Relay,
    /// `limits`
    pub limits: Limits,
    /// `tls`
    pub tls: Tls,
    /// `auth`
    pub auth: Auth,
    /// `queue`
    pub queue: Queue,
    /// `delivery`
    pub delivery: Delivery,
    /// `route`
    pub route: Vec<Route>,
    /// `dkim`
    pub dkim: Vec<Dkim>,
    /// `inbound`
    pub inbound: Inbound,
    /// `rewrite`
    pub rewrite: Rewrite,
    /// `dns`
    pub dns: Dns,
    /// `control`
    pub control: Control,
    /// `log`
    pub log: Log,
}

impl Default for File {
    fn default() -> Self {
        Self {
            hostname: None,
            postmaster: None,
            state_dir: Text(DEFAULT_STATE_DIR.into()),
            listener: vec![Listener::default()],
            relay: Relay::default(),
            limits: Limits::default(),
            tls: Tls::default(),
            auth: Auth::default(),
            queue: Queue::default(),
            delivery: Delivery::default(),
            route: Vec::new(),
            dkim: Vec::new(),
            inbound: Inbound::default(),
            rewrite: Rewrite::default(),
            dns: Dns::default(),
            control: Control::default(),
            log: Log::default(),
        }
    }
}

/// `[[listener]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listener {
    /// `listener.address`
    pub address: Text<ListenAddress>,
    /// `listener.role`
    #[serde(default)]
    pub role: Role,
    /// `listener.proxies`
    #[serde(default)]
    pub proxies: Vec<Text<IpNet>>,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: Text(ListenAddress::Tcp((Ipv6Addr::UNSPECIFIED, 25).into())),
            role: Role::Mx,
            proxies: Vec::new(),
        }
    }
}

/// `listener.role`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `mx`
    #[default]
    Mx,
    /// `submission`
    Submission,
    /// `submissions`
    Submissions,
}

/// `[relay]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Relay {
    /// `relay.networks`
    pub networks: Vec<Text<IpNet>>,
    /// `relay.domains`
    pub domains: Vec<Text<DomainPattern>>,
    /// `relay.bad_senders`
    pub bad_senders: Vec<Text<AddressPattern>>,
    /// `relay.open`
    pub open: bool,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            networks: networks(&["127.0.0.0/8", "::1/128"]),
            domains: Vec::new(),
            bad_senders: Vec::new(),
            open: false,
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `limits.message_size`
    pub message_size: Text<ByteSize>,
    /// `limits.header_size`
    pub header_size: Text<ByteSize>,
    /// `limits.line_length`
    pub line_length: Text<ByteSize>,
    /// `limits.recipients`
    pub recipients: Count,
    /// `limits.connections`
    pub connections: Count,
    /// `limits.connections_per_client`
    pub connections_per_client: Count,
    /// `limits.errors`
    pub errors: Count,
    /// `limits.command_timeout`
    pub command_timeout: Text<Duration>,
    /// `limits.bare_newline`
    pub bare_newline: BareNewline,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: Text(ByteSize::mib(25)),
            header_size: Text(ByteSize::kib(256)),
            line_length: Text(ByteSize::kib(64)),
            recipients: Count(100),
            connections: Count(1000),
            connections_per_client: Count(50),
            errors: Count(20),
            command_timeout: Text(Duration::from_mins(5)),
            bare_newline: BareNewline::Refuse,
        }
    }
}

/// `limits.bare_newline`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BareNewline {
    /// `refuse`
    Refuse,
    /// `normalize`
    Normalize,
}

/// `[tls]`; without a certificate there is no TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// `tls.certificate`
    pub certificate: PathBuf,
    /// `tls.key`
    pub key: PathBuf,
    /// `tls.session_tickets`
    pub session_tickets: bool,
    /// `tls.extra`
    pub extra: Vec<Pair>,
}

/// `[[tls.extra]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pair {
    /// `tls.extra.certificate`
    pub certificate: PathBuf,
    /// `tls.extra.key`
    pub key: PathBuf,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// `auth.users`
    pub users: PathBuf,
    /// `auth.lockout`
    pub lockout: Text<Duration>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            users: DEFAULT_USERS_FILE.into(),
            lockout: Text(Duration::from_mins(10)),
        }
    }
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// `queue.lifetime`
    pub lifetime: Text<Duration>,
    /// `queue.retry_unit`
    pub retry_unit: Text<Duration>,
    /// `queue.retry_max_interval`
    pub retry_max_interval: Text<Duration>,
    /// `queue.min_free`
    pub min_free: Text<ByteSize>,
    /// `queue.delay_notice`
    pub delay_notice: Text<Never<Duration>>,
    /// `queue.bounces_per_sender`
    pub bounces_per_sender: Count,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            lifetime: Text(Duration::from_hours(5 * 24)),
            retry_unit: Text(Duration::from_secs(400)),
            retry_max_interval: Text(Duration::from_hours(4)),
            min_free: Text(ByteSize::mib(64)),
            delay_notice: Text(Never(None)),
            bounces_per_sender: Count(100),
        }
    }
}

/// `[delivery]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// `delivery.concurrency`
    pub concurrency: Count,
    /// `delivery.concurrency_per_destination`
    pub concurrency_per_destination: Count,
    /// `delivery.port`
    pub port: Port,
    /// `delivery.connect_timeout`
    pub connect_timeout: Text<Duration>,
    /// `delivery.command_timeout`
    pub command_timeout: Text<Duration>,
    /// `delivery.ip`
    pub ip: Ip,
    /// `delivery.refuse_addresses`
    pub refuse_addresses: Vec<Text<IpNet>>,
    /// `delivery.ca_file`
    pub ca_file: PathBuf,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            concurrency: Count(120),
            concurrency_per_destination: Count(20),
            port: Port(25),
            connect_timeout: Text(Duration::from_secs(30)),
            command_timeout: Text(Duration::from_mins(5)),
            ip: Ip::Any,
            refuse_addresses: networks(&["127.0.0.0/8", "::1/128", "0.0.0.0/8"]),
            ca_file: PathBuf::new(),
        }
    }
}

/// `delivery.ip`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ip {
    /// `any`
    Any,
    /// `v4`
    V4,
    /// `v6`
    V6,
}

/// `[[route]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// `route.domain`
    pub domain: Option<String>,
    /// `route.sender`
    pub sender: Option<String>,
    /// `route.host`
    #[serde(default)]
    pub host: Vec<String>,
    /// `route.port`
    #[serde(default = "smtp_port")]
    pub port: Port,
    /// `route.tls`
    #[serde(default)]
    pub tls: RouteTls,
    /// `route.username`
    pub username: Option<String>,
    /// `route.password_file`
    pub password_file: Option<PathBuf>,
    /// `route.password_command`
    pub password_command: Option<Vec<String>>,
    /// `route.token_command`
    pub token_command: Option<Vec<String>>,
    /// `route.token_lifetime`
    pub token_lifetime: Option<Text<Duration>>,
}

fn smtp_port() -> Port {
    Port(25)
}

/// `route.tls`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteTls {
    /// `require`
    #[default]
    Require,
    /// `opportunistic`
    Opportunistic,
    /// `implicit`
    Implicit,
    /// `none`
    None,
}

/// `[[dkim]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dkim {
    /// `dkim.domain`
    pub domain: Text<Domain>,
    /// `dkim.selector`
    pub selector: Text<Selector>,
    /// `dkim.key`
    pub key: Text<PathBuf>,
    /// `dkim.subdomains`
    #[serde(default)]
    pub subdomains: bool,
    /// `dkim.headers`
    pub headers: Option<Vec<String>>,
    /// `dkim.canonicalization`
    #[serde(default)]
    pub canonicalization: Canonicalization,
    /// `dkim.expire`
    #[serde(default = "never")]
    pub expire: Text<Never<Duration>>,
}

fn never() -> Text<Never<Duration>> {
    Text(Never(None))
}

/// `dkim.canonicalization`: that of the header section, which is always relaxed, and that of the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Canonicalization {
    /// `relaxed/relaxed`
    #[default]
    #[serde(rename = "relaxed/relaxed")]
    Relaxed,
    /// `relaxed/simple`
    #[serde(rename = "relaxed/simple")]
    Simple,
}

/// `[inbound]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Inbound {
    /// `inbound.dmarc`
    pub dmarc: InboundDmarc,
    /// `inbound.dnsbl`
    pub dnsbl: Vec<Text<Domain>>,
    /// `inbound.timeout`
    pub timeout: Text<Duration>,
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            dmarc: InboundDmarc::Off,
            dnsbl: Vec::new(),
            timeout: Text(Duration::from_secs(8)),
        }
    }
}

/// `inbound.dmarc`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InboundDmarc {
    /// `off`
    Off,
    /// `report`
    Report,
    /// `enforce`
    Enforce,
}

/// `[rewrite]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rewrite {
    /// `rewrite.domain`
    pub domain: Option<Text<Domain>>,
    /// `rewrite.from`
    pub from: Vec<Replacement>,
}

/// One pair of `rewrite.from`: the addresses to replace, and the address to use instead.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(expecting = "a pair such as [\"root@*\", \"ops@example.org\"]")]
pub struct Replacement(
    /// The addresses to replace.
    pub Text<AddressPattern>,
    /// The address to use instead.
    pub Text<Mailbox>,
    /// A third element, which is an error. serde would ignore it.
    #[serde(default)]
    pub Option<String>,
);

/// `[dns]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// `dns.servers`
    pub servers: Vec<Text<SocketAddr>>,
}

/// `[control]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Control {
    /// `control.socket`
    pub socket: Text<PathBuf>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: Text(DEFAULT_CONTROL_SOCKET.into()),
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Log {
    /// `log.format`
    pub format: LogFormat,
    /// `log.level`
    pub level: LogLevel,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: LogLevel::Info,
        }
    }
}

/// A path of the file. An empty path means that there is none.
pub fn given(path: &Path) -> Option<&Path> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `text`
    Text,
    /// `json`
    Json,
}

/// `log.level`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// `error`
    Error,
    /// `warn`
    Warn,
    /// `info`
    Info,
    /// `debug`
    Debug,
    /// `trace`
    Trace,
}

fn networks(texts: &[&str]) -> Vec<Text<IpNet>> {
    let parse = |text: &&str| Text(text.parse().expect("the default is a network"));
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests;
