//! Connections that have nothing to do for the moment, kept for the next message to the same host.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::classify::Hop;
use crate::connection::Connection;
use crate::pool_key::PoolKey;

/// How long a connection waits for work; many servers hang up after little more.
const IDLE_TIME: Duration = Duration::from_secs(10);
/// How long a connection is used at all.
const LIFETIME: Duration = Duration::from_mins(5);
/// Messages over one connection to somebody else's host: many set a limit near this.
const MESSAGES: u32 = 100;
/// Messages over one connection to the operator's smarthost.
const MESSAGES_TO_SMARTHOST: u32 = 1000;
/// Idle connections to one address.
const PER_ADDRESS: usize = 64;
/// Idle connections in all.
const IN_ALL: usize = 512;
/// How often those that waited too long are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// The idle connections, by the address and port that they lead to.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<IdleConnections>,
}

#[derive(Debug, Default)]
struct IdleConnections {
    connections: HashMap<SocketAddr, Vec<IdleConnection>>,
    count: usize,
    is_swept: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct IdleConnection {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// A connection to this address on these terms, the one used last, so that the others grow old.
    /// Those whose peer has hung up meanwhile are dropped.
    pub(crate) fn take(&self, address: SocketAddr, pool_key: &PoolKey) -> Option<Connection> {
        let mut idle = self.idle();
        loop {
            let waiting = idle.pop(address, pool_key)?;
            if waiting.since.elapsed() < IDLE_TIME && waiting.connection.is_quiet() {
                return Some(waiting.connection);
            }
        }
    }

    /// Keeps a connection for later, if it is worth it and there is room.
    pub(crate) fn put(self: &Arc<Self>, connection: Connection, hop: Hop) {
        let messages = match hop {
            Hop::Recipient => MESSAGES,
            Hop::Smarthost => MESSAGES_TO_SMARTHOST,
        };
        let used_up =
            connection.transactions() >= messages || connection.opened().elapsed() > LIFETIME;
        if !connection.is_idle() {
            return;
        }
        let mut idle = self.idle();
        if used_up || idle.is_closed {
            tokio::spawn(connection.close());
            return;
        }
        if let Some(refused) = idle.push(connection) {
            tokio::spawn(refused.close());
        }
        if !idle.is_swept {
            idle.is_swept = true;
            tokio::spawn(Arc::clone(self).sweep());
        }
    }

    /// Closes all, and keeps none any more.
    pub(crate) async fn close(&self) {
        let mut goodbyes = JoinSet::new();
        {
            let mut idle = self.idle();
            idle.is_closed = true;
            idle.count = 0;
            for waiting in idle.connections.drain().flat_map(|(_, waiting)| waiting) {
                goodbyes.spawn(waiting.connection.close());
            }
        }
        while goodbyes.join_next().await.is_some() {}
    }

    /// Closes what has waited too long, until nothing waits.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let (old, done) = {
                let mut idle = self.idle();
                let old = idle.remove_old();
                idle.is_swept = idle.count > 0;
                (old, !idle.is_swept)
            };
            for connection in old {
                tokio::spawn(connection.close());
            }
            if done {
                return;
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, IdleConnections> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdleConnections {
    fn pop(&mut self, address: SocketAddr, pool_key: &PoolKey) -> Option<IdleConnection> {
        let connections = self.connections.get_mut(&address)?;
        let found = connections
            .iter()
            .rposition(|w| w.connection.pool_key() == pool_key)?;
        let waiting = connections.remove(found);
        if connections.is_empty() {
            self.connections.remove(&address);
        }
        self.count -= 1;
        Some(waiting)
    }

    /// Gives the connection back if there is no room.
    fn push(&mut self, connection: Connection) -> Option<Connection> {
        let full = self.count >= IN_ALL;
        let connections = self
            .connections
            .entry(connection.peer().address)
            .or_default();
        if full || connections.len() >= PER_ADDRESS {
            return Some(connection);
        }
        connections.push(IdleConnection {
            connection,
            since: Instant::now(),
        });
        self.count += 1;
        None
    }

    fn remove_old(&mut self) -> Vec<Connection> {
        let mut old = Vec::new();
        self.connections.retain(|_, connections| {
            // The longest waiting come first.
            let fresh = connections.partition_point(|w| w.since.elapsed() >= IDLE_TIME);
            old.extend(connections.drain(..fresh).map(|w| w.connection));
            !connections.is_empty()
        });
        self.count -= old.len();
        old
    }
}
