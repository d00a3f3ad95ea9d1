//! Starts a session for each connection: counts it, reads the PROXY header, then runs the session.

use std::sync::Arc;

use relay_message::QueueStore;
use relay_smtp::Reply;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::ClientId;
use crate::config::{ListenerConfig, Role, ServerConfig};
use crate::connection::{Client, Connection, SharedState};
use crate::events;
use crate::listener::IncomingStream;
use crate::proxy_header::ProxiedClient;
use crate::slots::{Slot, Slots};

/// Starts sessions and keeps track of them, for all listeners of a server.
pub(crate) struct SessionSpawner<S> {
    pub(crate) shared: Arc<SharedState<S>>,
    pub(crate) config: watch::Receiver<Arc<ServerConfig>>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) sessions: TaskTracker,
    /// Cancelled when the drain is over: sessions that are still open end at once.
    pub(crate) aborting: CancellationToken,
}

impl<S: QueueStore> SessionSpawner<S> {
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> {
        self.shared.stopping.cancelled()
    }

    /// The configuration for a session that begins now.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.borrow())
    }

    pub(crate) fn shared(&self) -> Arc<SharedState<S>> {
        Arc::clone(&self.shared)
    }

    /// Runs a session until it ends, or the drain is over.
    pub(crate) fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        let aborting = self.aborting.clone();
        self.sessions.spawn(async move {
            tokio::select! {
                () = session => {}
                () = aborting.cancelled() => {}
            }
        });
    }

    /// Starts a session on a connection, or rejects the connection if there is no free slot.
    pub(crate) fn start<T: IncomingStream>(
        &self,
        stream: T,
        id: ClientId,
        listener: &ListenerConfig,
    ) {
        let config = self.config();
        let is_proxy = listener.is_proxy(id);
        let client = (!is_proxy).then_some(id);
        let slot = match self.slots.take(client, &config.limits) {
            Ok(slot) => slot,
            Err(reply) => return reject(stream, id, listener.role, &reply),
        };
        let pending = PendingConnection {
            shared: self.shared(),
            config,
            slot,
            stream,
            client: Client {
                id,
                address_known: true,
                role: listener.role,
            },
        };
        self.spawn(pending.serve(is_proxy));
    }
}

/// A connection that has a slot and no session yet.
struct PendingConnection<S: QueueStore, T> {
    shared: Arc<SharedState<S>>,
    config: Arc<ServerConfig>,
    slot: Slot,
    stream: T,
    client: Client,
}

impl<S: QueueStore, T: IncomingStream> PendingConnection<S, T> {
    /// Rare steps are boxed to keep the futures of most sessions small.
    async fn serve(self, is_proxy: bool) {
        let pending = if is_proxy {
            match Box::pin(self.read_proxy_header()).await {
                Some(pending) => pending,
                None => return,
            }
        } else {
            self
        };
        let Self {
            shared,
            config,
            slot: _slot,
            stream,
            client,
        } = pending;
        if client.role == Role::Submissions {
            let secured = Connection::secured(shared, config, client, stream);
            if let Some(connection) = Box::pin(secured).await {
                connection.run().await;
            }
        } else {
            Connection::new(shared, config, client, stream).run().await;
        }
    }

    /// Reads the PROXY header and returns the connection with the client that it names.
    async fn read_proxy_header(mut self) -> Option<Self> {
        let told = tokio::select! {
            told = self.stream.read_proxy_header() => told,
            () = self.shared.stopping.cancelled() => return None,
        };
        let proxy = self.client.id;
        match told {
            Ok(ProxiedClient::Address(address)) => {
                self.client.id = ClientId::Address(address.to_canonical());
            }
            Ok(ProxiedClient::Unknown) => self.client.address_known = false,
            Err(reason) => {
                events::bad_proxy(proxy, &reason);
                return None;
            }
        }
        let Client { id, role, .. } = self.client;
        match self.slot.assign(id, &self.config.limits) {
            Ok(()) => Some(self),
            Err(reply) => {
                reject(self.stream, id, role, &reply);
                None
            }
        }
    }
}

/// Closes a connection with this reply. On a listener with implicit TLS the reply cannot be sent, because
/// the handshake has not been made.
fn reject(stream: impl IncomingStream, client: ClientId, role: Role, reply: &Reply) {
    events::refused_connection(client, reply);
    if role == Role::Submissions {
        return;
    }
    let mut text = Vec::new();
    reply.encode(&mut text);
    stream.reply_and_close(&text);
}
