//! The tables for mail that the relay sends: how long it is kept, and where it goes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::Deserialize;

use super::networks;
use crate::values::{Count, Never, Port, Text};

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

/// `[dns]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// `dns.servers`
    pub servers: Vec<Text<SocketAddr>>,
}
