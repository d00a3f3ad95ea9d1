//! Idle connections that are kept for the next message to the same host.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::classify::Hop;
use crate::connection::Connection;
use crate::pool_key::PoolKey;

/// How long a connection may be idle. Many servers close it a little later.
const IDLE_TIME: Duration = Duration::from_secs(10);
/// How long a connection may be used in all.
const LIFETIME: Duration = Duration::from_mins(5);
/// Messages over one connection to a host of others. Many servers set a limit near this.
const MESSAGES: u32 = 100;
/// Messages over one connection to the operator's smarthost.
const MESSAGES_TO_SMARTHOST: u32 = 1000;
/// The most idle connections to one address.
const PER_ADDRESS: usize = 64;
/// The most idle connections in all.
const IN_ALL: usize = 512;
/// How often the pool looks for connections that were idle too long.
const SWEEP: Duration = Duration::from_secs(1);

/// The idle connections by the address and port of the peer.
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
    /// Takes an idle connection to this address with this key. It prefers the one used last, so
    /// that the others can expire. Connections that the peer has closed are dropped.
    pub(crate) fn take(&self, address: SocketAddr, pool_key: &PoolKey) -> Option<Connection> {
        let mut idle = self.idle();
        loop {
            let waiting = idle.pop(address, pool_key)?;
            if waiting.since.elapsed() < IDLE_TIME && waiting.connection.is_quiet() {
                return Some(waiting.connection);
            }
        }
    }

    /// Keeps a connection for later, unless it is used up or the pool is full.
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

    /// Closes all connections and keeps none from now on.
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

    /// Closes connections that were idle too long, until none is left.
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

    /// Adds a connection, or returns it if there is no room.
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
            // The connections that have been idle longest come first.
            let fresh = connections.partition_point(|w| w.since.elapsed() >= IDLE_TIME);
            old.extend(connections.drain(..fresh).map(|w| w.connection));
            !connections.is_empty()
        });
        self.count -= old.len();
        old
    }
}
