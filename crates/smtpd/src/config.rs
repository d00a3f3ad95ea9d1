//! The configuration of the server.

use std::sync::Arc;

use ipnet::IpNet;
use relay_dkim::Signer;
use relay_smtp::Mailbox;
use relay_smtp::server::{self, BareAddress};

use crate::address::ListenerAddress;
use crate::auth::{AuthLimits, TemporaryRelay, Users};
use crate::client::ClientId;
use crate::inbound_check::InboundCheck;
use crate::relay::RelayRules;
use crate::rewrite::Rewriting;
use crate::tls::TlsServer;

/// The configuration of the server. A session keeps the configuration that it began with.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Our host name, for the greeting, EHLO and Received.
    pub hostname: Arc<str>,
    /// The mailbox that gets mail for postmaster.
    pub postmaster: Mailbox,
    /// Who may send what to whom.
    pub relay: RelayRules,
    /// Limits for sessions and messages.
    pub limits: Limits,
    /// Certificates. Without them neither TLS nor AUTH is offered.
    pub tls: Option<Arc<TlsServer>>,
    /// The users that may log in. Without users AUTH is not offered.
    pub users: Option<Arc<dyn Users>>,
    /// Clients that may relay temporarily.
    pub temporary_relay: Arc<dyn TemporaryRelay>,
    /// Limits for failed logins.
    pub auth: AuthLimits,
    /// Rules for rewriting addresses of submitted mail.
    pub rewriting: Rewriting,
    /// The DKIM keys for mail of clients that may relay.
    pub signer: Arc<Signer>,
    /// Checks external clients. Without it nothing is checked or looked up.
    pub inbound: Option<Arc<dyn InboundCheck>>,
}

impl ServerConfig {
    /// Returns the settings of a session. `submits` is true if the client submits its own mail.
    pub(crate) fn settings(&self, submits: bool) -> server::Settings {
        let bare_address = match self.rewriting.domain.clone() {
            Some(domain) if submits => BareAddress::Complete(domain),
            Some(domain) => BareAddress::CompleteForUsers(domain),
            None => BareAddress::Refuse,
        };
        server::Settings {
            hostname: Arc::clone(&self.hostname),
            limits: self.limits.session,
            starttls: self.tls.is_some(),
            auth: self.users.is_some(),
            bare_address,
        }
    }
}

/// The limits of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most open sessions in total.
    pub connections: usize,
    /// The most open sessions of one client.
    pub connections_per_client: usize,
    /// The limits of one session.
    pub session: server::SessionLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            connections_per_client: 50,
            session: server::SessionLimits::default(),
        }
    }
}

/// The role of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Port 25: mail from other servers, and from clients that may relay.
    Mx,
    /// Port 587: mail only from clients that may relay (RFC 6409).
    Submission,
    /// Port 465: like port 587, but under TLS from the first octet (RFC 8314 §3.3).
    Submissions,
}

impl Role {
    /// Whether only clients that may relay may send mail.
    pub(crate) fn is_submission(self) -> bool {
        match self {
            Self::Mx => false,
            Self::Submission | Self::Submissions => true,
        }
    }
}

/// A socket to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The address to listen on.
    pub address: ListenerAddress,
    /// The role of the listener.
    pub role: Role,
    /// The networks of trusted proxies. Connections from them must begin with a PROXY header; from other
    /// clients a PROXY header is not accepted.
    pub proxies: Vec<IpNet>,
}

impl ListenerConfig {
    /// Whether this client is a trusted proxy.
    pub(crate) fn is_proxy(&self, peer: ClientId) -> bool {
        match peer {
            ClientId::Address(address) => self
                .proxies
                .iter()
                .any(|network| network.contains(&address)),
            ClientId::Uid(_) => false,
        }
    }
}
