//! The shape of the configuration file: its tables, keys and defaults.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use relay_dkim::{Domain, Selector};
use relay_smtp::Mailbox;
use relay_smtp::pattern::{AddressPattern, DomainPattern};
use relay_smtpd::Address;
use serde::Deserialize;

use super::LogFormat;
use super::values::{Count, HostName, Never, Port, Text};
use crate::log::Level;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct File {
    pub(super) hostname: Option<Text<HostName>>,
    pub(super) postmaster: Option<Text<Mailbox>>,
    pub(super) state_dir: Text<PathBuf>,
    pub(super) listener: Vec<Listener>,
    pub(super) relay: Relay,
    pub(super) limits: Limits,
    pub(super) tls: Tls,
    pub(super) auth: Auth,
    pub(super) queue: Queue,
    pub(super) delivery: Delivery,
    pub(super) route: Vec<Route>,
    pub(super) dkim: Vec<Dkim>,
    pub(super) inbound: Inbound,
    pub(super) rewrite: Rewrite,
    pub(super) dns: Dns,
    pub(super) control: Control,
    pub(super) log: Log,
}

impl Default for File {
    fn default() -> Self {
        Self {
            hostname: None,
            postmaster: None,
            state_dir: Text("/var/lib/relayd".into()),
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
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Listener {
    pub(super) address: Text<Address>,
    #[serde(default)]
    pub(super) role: Role,
    #[serde(default)]
    pub(super) proxies: Vec<Text<IpNet>>,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: Text(Address::Tcp((Ipv6Addr::UNSPECIFIED, 25).into())),
            role: Role::Mx,
            proxies: Vec::new(),
        }
    }
}

/// `listener.role`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    #[default]
    Mx,
    Submission,
    Submissions,
}

/// `[relay]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Relay {
    pub(super) networks: Vec<Text<IpNet>>,
    pub(super) domains: Vec<Text<DomainPattern>>,
    pub(super) bad_senders: Vec<Text<AddressPattern>>,
    pub(super) open: bool,
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
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Limits {
    pub(super) message_size: Text<ByteSize>,
    pub(super) header_size: Text<ByteSize>,
    pub(super) line_length: Text<ByteSize>,
    pub(super) recipients: Count,
    pub(super) connections: Count,
    pub(super) connections_per_client: Count,
    pub(super) errors: Count,
    pub(super) command_timeout: Text<Duration>,
    pub(super) bare_newline: BareNewline,
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
pub(super) enum BareNewline {
    Refuse,
    Normalize,
}

/// `[tls]`; without a certificate there is no TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) session_tickets: bool,
    pub(super) extra: Vec<Pair>,
}

/// `[[tls.extra]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Auth {
    pub(super) users: PathBuf,
    pub(super) lockout: Text<Duration>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            users: relay_users::DEFAULT_FILE.into(),
            lockout: Text(Duration::from_mins(10)),
        }
    }
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Queue {
    pub(super) lifetime: Text<Duration>,
    pub(super) retry_unit: Text<Duration>,
    pub(super) retry_max_interval: Text<Duration>,
    pub(super) min_free: Text<ByteSize>,
    pub(super) delay_notice: Text<Never<Duration>>,
    pub(super) bounces_per_sender: Count,
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
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Delivery {
    pub(super) concurrency: Count,
    pub(super) concurrency_per_destination: Count,
    pub(super) port: Port,
    pub(super) connect_timeout: Text<Duration>,
    pub(super) command_timeout: Text<Duration>,
    pub(super) ip: Ip,
    pub(super) refuse_addresses: Vec<Text<IpNet>>,
    pub(super) ca_file: PathBuf,
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
pub(super) enum Ip {
    Any,
    V4,
    V6,
}

/// `[[route]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Route {
    pub(super) domain: Option<String>,
    pub(super) sender: Option<String>,
    #[serde(default)]
    pub(super) host: Vec<String>,
    #[serde(default = "smtp_port")]
    pub(super) port: Port,
    #[serde(default)]
    pub(super) tls: RouteTls,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) password_command: Option<Vec<String>>,
    pub(super) token_command: Option<Vec<String>>,
    pub(super) token_lifetime: Option<Text<Duration>>,
}

fn smtp_port() -> Port {
    Port(25)
}

/// `route.tls`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RouteTls {
    #[default]
    Require,
    Opportunistic,
    Implicit,
    None,
}

/// `[[dkim]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Dkim {
    pub(super) domain: Text<Domain>,
    pub(super) selector: Text<Selector>,
    pub(super) key: Text<PathBuf>,
    #[serde(default)]
    pub(super) subdomains: bool,
    pub(super) headers: Option<Vec<String>>,
    #[serde(default)]
    pub(super) canonicalization: Canonicalization,
    #[serde(default = "never")]
    pub(super) expire: Text<Never<Duration>>,
}

fn never() -> Text<Never<Duration>> {
    Text(Never(None))
}

/// `dkim.canonicalization`: of the header section, which is always relaxed, and of the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Canonicalization {
    #[default]
    #[serde(rename = "relaxed/relaxed")]
    Relaxed,
    #[serde(rename = "relaxed/simple")]
    Simple,
}

/// `[inbound]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Inbound {
    pub(super) dmarc: InboundDmarc,
    pub(super) dnsbl: Vec<Text<Domain>>,
    pub(super) timeout: Text<Duration>,
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
pub(super) enum InboundDmarc {
    Off,
    Report,
    Enforce,
}

/// `[rewrite]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Rewrite {
    pub(super) domain: Option<Text<Domain>>,
    pub(super) from: Vec<StandIn>,
}

/// One line of `rewrite.from`: whom, by whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(expecting = "a pair such as [\"root@*\", \"ops@example.org\"]")]
pub(super) struct StandIn(
    pub(super) Text<AddressPattern>,
    pub(super) Text<Mailbox>,
    /// More than a pair, which serde would pass over.
    #[serde(default)]
    pub(super) Option<String>,
);

/// `[dns]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Dns {
    pub(super) servers: Vec<Text<SocketAddr>>,
}

/// `[control]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Control {
    pub(super) socket: Text<PathBuf>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: Text(relay_control::DEFAULT_SOCKET.into()),
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Log {
    pub(super) format: LogFormat,
    pub(super) level: Level,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: Level::Info,
        }
    }
}

fn networks(texts: &[&str]) -> Vec<Text<IpNet>> {
    let parse = |text: &&str| Text(text.parse().expect("the default is a network"));
    texts.iter().map(parse).collect()
}
