//! What the operator decides about coming in.

use std::sync::Arc;

use ipnet::IpNet;
use relay_dkim::Signer;
use relay_smtp::Mailbox;
use relay_smtp::server::{self, BareAddress};

use crate::address::Address;
use crate::auth::{AuthLimits, TemporaryRelay, Users};
use crate::client::ClientId;
use crate::inbound_check::InboundCheck;
use crate::relay::RelayRules;
use crate::rewrite::Rewriting;
use crate::tls::TlsServer;

/// The rules of the server. A session keeps those of its first moment, as under tcpserver.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Our name: greeting, EHLO, Received.
    pub hostname: Arc<str>,
    /// Who reads mail for postmaster.
    pub postmaster: Mailbox,
    /// Who may send what to whom.
    pub relay: RelayRules,
    /// How much of everything.
    pub limits: Limits,
    /// Certificates; without them there is no TLS, and so no AUTH.
    pub tls: Option<Arc<TlsServer>>,
    /// Who may log in; without them AUTH is not offered.
    pub users: Option<Arc<dyn Users>>,
    /// Who may relay for a time.
    pub temporary_relay: Arc<dyn TemporaryRelay>,
    /// What failed logins lead to.
    pub auth: AuthLimits,
    /// What is done to addresses of submitted mail.
    pub rewriting: Rewriting,
    /// What our own clients' mail is signed with.
    pub signer: Arc<Signer>,
    /// Who looks into strangers; without it nobody does, and nothing is looked up.
    pub inbound: Option<Arc<dyn InboundCheck>>,
}

impl ServerConfig {
    /// What a session has to know, of a client whose mail begins its way here or may not.
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
    /// Port 587: mail from clients that may relay, and from nobody else (RFC 6409).
    Submission,
    /// Port 465: the same, under TLS from the first octet (RFC 8314 §3.3).
    Submissions,
}

impl Role {
    /// Whether only those who may relay may send at all.
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
    /// Where it is.
    pub address: Address,
    /// What it is for.
    pub role: Role,
    /// Proxies: they must begin with the PROXY protocol and are believed; to others it means
    /// nothing.
    pub proxies: Vec<IpNet>,
}

impl ListenerConfig {
    /// Whether this peer speaks for others.
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
