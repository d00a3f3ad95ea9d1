//! The tables for mail that the relay receives: who may send it, and within which limits.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use relay_smtp::dns_name::Domain;
use relay_smtp::pattern::{AddressPattern, DomainPattern};
use serde::Deserialize;

use super::{DEFAULT_USERS_FILE, networks};
use crate::values::{Count, ListenAddress, Text};

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
