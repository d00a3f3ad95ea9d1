//! The tables, keys and defaults of the configuration file.
//!
//! The documentation of a field is its key. `etc/relayd.toml` says what the key means and in which unit.

mod content;
mod receiving;
mod sending;

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use relay_smtp::Mailbox;
use serde::Deserialize;

use crate::values::{HostName, Text};

pub use content::{Canonicalization, Dkim, Replacement, Rewrite};
pub use receiving::{
    Auth, BareNewline, Inbound, InboundDmarc, Limits, Listener, Pair, Relay, Role, Tls,
};
pub use sending::{Delivery, Dns, Ip, Queue, Route, RouteTls};

/// The state directory of the daemon, unless the configuration names another one.
const DEFAULT_STATE_DIR: &str = "/var/lib/relayd";
/// The control socket of the daemon, unless the configuration names another one.
pub const DEFAULT_CONTROL_SOCKET: &str = "/run/relayd/control.sock";
/// The users file, unless the configuration names another one.
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

/// Returns the path if it is set. An empty path means that the key is not set.
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
