//! From an address to a connection that a transaction can begin on.

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
use crate::stream::Stream;
use crate::tls::{self, TlsFailure, Trust};

/// A connection to be made.
#[derive(Debug)]
pub(crate) struct Connector<'a> {
    /// Where to.
    pub(crate) peer: Peer,
    pub(crate) config: &'a Config,
    pub(crate) trust: &'a Trust,
    /// How: what the terms say, or clear text for a host whose TLS has broken.
    pub(crate) rule: TlsRule,
    /// What for.
    pub(crate) pool_key: PoolKey,
    /// As whom.
    pub(crate) credentials: Option<Credentials>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct ConnectError {
    pub(crate) cause: Cause,
    /// Whom we spoke with, and under what protection.
    pub(crate) peer: Peer,
    /// By which mechanism we tried to log in.
    pub(crate) mechanism: Option<Mechanism>,
    /// It is TLS that broke, and mail may go out without.
    pub(crate) may_do_in_clear: bool,
}

impl Connector<'_> {
    /// Connects, and talks until a transaction can begin.
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
        // Every write is a whole group of commands, to be sent at once.
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
            stream: Stream::Clear(stream),
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

    /// The same connection under TLS. What came before the handshake and was not handled yet is
    /// dropped, for it may be anybody's (RFC 3207 §4.2).
    async fn secure(&self, connection: Connection) -> Result<Connection, TlsFailure> {
        let Stream::Clear(stream) = connection.stream else {
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
        let stream = Stream::Secure(Box::new(shaken.map_err(|_| TlsFailure::TimedOut)??));
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
            // The peer may find only after the handshake that it cannot go on.
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
