//! What the operator decides about coming in.

use std::net::SocketAddr;
use std::sync::Arc;

use relay_smtp::Mailbox;
use relay_smtp::server;

use crate::relay::RelayRules;

/// The rules of the server. A session keeps those of its first moment, as under tcpserver.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name: greeting, EHLO, Received.
    pub hostname: Arc<str>,
    /// Who reads mail for postmaster.
    pub postmaster: Mailbox,
    /// Who may send what to whom.
    pub relay: RelayRules,
    /// How much of everything.
    pub limits: Limits,
}

impl Config {
    /// What a session has to know.
    pub(crate) fn settings(&self) -> server::Settings {
        server::Settings {
            hostname: Arc::clone(&self.hostname),
            limits: self.limits.session,
        }
    }
}

/// How much the server takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open sessions in all.
    pub connections: usize,
    /// Open sessions of one client address.
    pub connections_per_client: usize,
    /// What one session may ask.
    pub session: server::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            connections_per_client: 50,
            session: server::Limits::default(),
        }
    }
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Port 25: mail from other servers, and from clients that may relay.
    Mx,
}

/// A socket to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Address and port; `[::]` takes IPv4 as well, unless `0.0.0.0` has that port beside it.
    pub address: SocketAddr,
    /// What it is for.
    pub role: Role,
}
