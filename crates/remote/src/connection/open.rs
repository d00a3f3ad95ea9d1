//! Opens a connection up to the point where a transaction can begin.

use std::io;

use relay_smtp::client::{ClientSession, Credentials, Event, Plan, TlsUse, Trouble};
use relay_smtp::sasl::Mechanism;
use relay_smtp::{Peer, Stage};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{Connection, INPUT};
use crate::classify::Cause;
use crate::config::Config;
use crate::events;
use crate::policy::TlsRule;
use crate::pool_key::PoolKey;
use crate::stream::PeerStream;
use crate::tls::{self, TlsFailure, Trust};

/// A connection to open.
#[derive(Debug)]
pub(crate) struct Connector<'a> {
    /// The peer to connect to.
    pub(crate) peer: Peer,
    pub(crate) config: &'a Config,
    pub(crate) trust: &'a Trust,
    /// The TLS rule: that of the pool key, or clear text for a host with broken TLS.
    pub(crate) rule: TlsRule,
    /// Which deliveries may reuse the connection.
    pub(crate) pool_key: PoolKey,
    /// The credentials to log in with.
    pub(crate) credentials: Option<Credentials>,
}

/// Why a connection could not be opened.
#[derive(Debug)]
pub(crate) struct ConnectError {
    pub(crate) cause: Cause,
    /// The peer, with the TLS parameters if the handshake was done.
    pub(crate) peer: Peer,
    /// The AUTH mechanism that was tried.
    pub(crate) mechanism: Option<Mechanism>,
    /// TLS failed, and the rule allows clear text.
    pub(crate) may_do_in_clear: bool,
}

impl Connector<'_> {
    /// Connects and runs the session until a transaction can begin.
    pub(crate) async fn open(self) -> Result<Connection, ConnectError> {
        let mut peer = self.peer.clone();
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(cause) => return Err(self.none(cause, peer)),
        };
        if self.rule == TlsRule::VerifiedFromTheStart {
            connection = match self.secure(connection).await {
                Ok(connection) => connection,
                Err(failure) => return Err(self.none(Cause::Tls(failure), peer)),
            };
        }
        loop {
            peer.tls.clone_from(&connection.peer.tls);
            let event = connection.event().await;
            let mechanism = connection.mechanism();
            let cause = match event {
                Ok(Event::Ready) => return Ok(connection),
                Ok(Event::StartTls) => match self.secure(connection).await {
                    Ok(secured) => {
                        connection = secured;
                        connection.session.tls_started();
                        continue;
                    }
                    Err(failure) => Cause::Tls(failure),
                },
                Ok(Event::Broken(trouble)) => Cause::Session(trouble),
                Ok(Event::Content | Event::Finished(_)) => connection.lost(),
                Err(cause) => cause,
            };
            return Err(ConnectError {
                mechanism,
                ..self.none(cause, peer)
            });
        }
    }

    async fn connect(&self) -> Result<Connection, Cause> {
        let connecting = TcpStream::connect(self.peer.address);
        let stream = match timeout(self.config.connect_timeout, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Cause::Unreachable(error.kind())),
            Err(_) => return Err(Cause::Unreachable(io::ErrorKind::TimedOut)),
        };
        // Each write is a whole group of commands and must leave at once.
        let _ = stream.set_nodelay(true);
        let plan = Plan {
            tls: match self.rule {
                TlsRule::Clear => TlsUse::Never,
                TlsRule::Opportunistic => TlsUse::IfOffered,
                TlsRule::Verified => TlsUse::Required,
                TlsRule::VerifiedFromTheStart => TlsUse::Active,
            },
            credentials: self.credentials.clone(),
        };
        Ok(Connection {
            stream: PeerStream::Clear(stream),
            session: ClientSession::new(&self.config.hostname, plan),
            peer: self.peer.clone(),
            pool_key: self.pool_key.clone(),
            input: Box::new([0; INPUT]),
            unread: 0..0,
            command_timeout: self.config.command_timeout,
            opened: Instant::now(),
            transactions: 0,
        })
    }

    /// Starts TLS on the connection. Octets that came before the handshake and were not handled yet
    /// are dropped, because an attacker may have inserted them (RFC 3207 §4.2).
    async fn secure(&self, connection: Connection) -> Result<Connection, TlsFailure> {
        let PeerStream::Clear(stream) = connection.stream else {
            return Err(TlsFailure::Handshake("TLS within TLS".to_owned()));
        };
        let verified = self.rule.is_verified();
        let config = if verified {
            let trusted = self.trust.verified().await;
            trusted.map_err(|e| TlsFailure::Trust(e.to_string()))?
        } else {
            self.trust.unverified()
        };
        let shaking = tls::handshake(stream, config, &self.peer.host);
        let shaken = timeout(self.config.connect_timeout, shaking).await;
        let stream = PeerStream::Secure(Box::new(shaken.map_err(|_| TlsFailure::TimedOut)??));
        let peer = Peer {
            tls: stream.tls(verified),
            ..connection.peer
        };
        if let Some(tls) = &peer.tls {
            events::tls(&peer, tls);
        }
        Ok(Connection {
            stream,
            peer,
            unread: 0..0,
            ..connection
        })
    }

    fn none(&self, cause: Cause, peer: Peer) -> ConnectError {
        let tls_broke = match &cause {
            Cause::Tls(_) | Cause::Session(Trouble::Refused(Stage::Tls, _)) => true,
            // A peer may fail only after the handshake, with its first reply under TLS.
            Cause::Lost(stage, _)
            | Cause::TimedOut(stage, _)
            | Cause::Session(Trouble::Garbled(stage, _) | Trouble::Unexpected(stage, _)) => {
                *stage == Stage::Tls || peer.tls.is_some()
            }
            _ => false,
        };
        ConnectError {
            may_do_in_clear: tls_broke && self.rule == TlsRule::Opportunistic,
            cause,
            peer,
            mechanism: None,
        }
    }
}
