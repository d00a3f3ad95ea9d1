//! The listeners and the sessions that come of them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use relay_queue::{Message, QueueStore};
use relay_smtp::Reply;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Gate;
use crate::buffers::BufferPool;
use crate::client::Peer;
use crate::config::{Config, ListenerConfig, Role};
use crate::connection::{Connection, Shared, Visitor};
use crate::door::{Door, Doorway};
use crate::events;
use crate::listener::{Accept, Address, BindError, Fresh, Listener, bind};
use crate::proxy::Client;
use crate::signatory::Signatory;
use crate::slots::{Slot, Slots};

/// How long the relay takes to go down: so long it waits for messages that are coming in.
pub const DRAIN: Duration = Duration::from_secs(5);
/// The last part of it, in which clients are told that their messages have taken too long.
const FAREWELL: Duration = Duration::from_secs(1);
/// The first pause after a failed accept; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Listeners that are open and wait for [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listeners: Vec<(Listener, ListenerConfig)>,
    addresses: Vec<Address>,
    door: Door,
    doorway: Doorway,
}

/// What a listener needs to start a session.
pub(crate) struct Starter<S> {
    shared: Arc<Shared<S>>,
    config: watch::Receiver<Arc<Config>>,
    slots: Arc<Slots>,
    sessions: TaskTracker,
    /// The drain is over: sessions that are still there end where they stand.
    aborting: CancellationToken,
}

impl Server {
    /// Opens all listeners, or none. To be called within a runtime.
    pub fn bind(listeners: &[ListenerConfig]) -> Result<Self, BindError> {
        let (door, doorway) = Door::new();
        let mut server = Self {
            door,
            doorway,
            listeners: Vec::with_capacity(listeners.len()),
            addresses: Vec::with_capacity(listeners.len()),
        };
        for config in listeners {
            let (listener, address) = bind(config, listeners)?;
            server.addresses.push(address);
            server.listeners.push((listener, config.clone()));
        }
        Ok(server)
    }

    /// The addresses that are listened on, in the order of the configuration, with real ports.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// A way in that needs no listener; it leads somewhere once the server runs.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Serves until `shutdown`, then ends idle sessions at once and others within [`DRAIN`].
    ///
    /// `accepted` is told of each message after it is safe and before its client is.
    pub async fn run<S: QueueStore>(
        self,
        store: Arc<S>,
        config: watch::Receiver<Arc<Config>>,
        accepted: Arc<dyn Fn(Message) + Send + Sync>,
        shutdown: CancellationToken,
    ) {
        let starter = Arc::new(Starter {
            shared: Arc::new(Shared {
                store,
                accepted,
                buffers: BufferPool::default(),
                gate: Gate::new(),
                signatory: Arc::new(Signatory::new()),
                stopping: shutdown.clone(),
                ending: CancellationToken::new(),
            }),
            config,
            slots: Arc::default(),
            sessions: TaskTracker::new(),
            aborting: CancellationToken::new(),
        });
        for (listener, door) in self.listeners {
            let (door, starter) = (Arc::new(door), Arc::clone(&starter));
            let sessions = starter.sessions.clone();
            match listener {
                Listener::Tcp(tcp) => sessions.spawn(accept(tcp, door, starter)),
                Listener::Unix(unix) => sessions.spawn(accept(unix, door, starter)),
            };
        }
        let visits = self.doorway.open(Arc::clone(&starter));
        starter.sessions.spawn(visits);
        shutdown.cancelled().await;
        starter.sessions.close();
        let wait = |time| timeout(time, starter.sessions.wait());
        if wait(DRAIN.saturating_sub(FAREWELL)).await.is_ok() {
            return;
        }
        starter.shared.ending.cancel();
        if wait(FAREWELL).await.is_err() {
            starter.aborting.cancel();
            starter.sessions.wait().await;
        }
    }
}

/// Takes connections; trouble makes it pause, never end.
async fn accept<S: QueueStore, L: Accept>(
    listener: L,
    door: Arc<ListenerConfig>,
    starter: Arc<Starter<S>>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            () = starter.shared.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                starter.start(stream, peer, &door);
            }
            Err(error) if is_of_one_connection(&error) => {}
            // Out of file descriptors or memory: sessions that end will give some back.
            Err(error) => {
                events::accept_failed(&door.address, &error);
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }
}

/// accept(2): a connection that failed before it was taken says nothing about the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

impl<S: QueueStore> Starter<S> {
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> {
        self.shared.stopping.cancelled()
    }

    /// The rules for a session that begins now.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    pub(crate) fn shared(&self) -> Arc<Shared<S>> {
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

    fn start<T: Fresh>(&self, stream: T, peer: Peer, door: &ListenerConfig) {
        let config = self.config();
        let is_proxy = door.is_proxy(peer);
        let client = (!is_proxy).then_some(peer);
        let slot = match self.slots.take(client, &config.limits) {
            Ok(slot) => slot,
            Err(reply) => return send_away(stream, peer, door.role, &reply),
        };
        let arrival = Arrival {
            shared: self.shared(),
            config,
            slot,
            stream,
            visitor: Visitor {
                peer,
                is_named: true,
                role: door.role,
            },
        };
        self.spawn(arrival.serve(is_proxy));
    }
}

/// A connection that has a place and no session yet.
struct Arrival<S: QueueStore, T> {
    shared: Arc<Shared<S>>,
    config: Arc<Config>,
    slot: Slot,
    stream: T,
    visitor: Visitor,
}

impl<S: QueueStore, T: Fresh> Arrival<S, T> {
    /// What only some do is boxed, so that the others stay small.
    async fn serve(self, is_proxy: bool) {
        let arrival = if is_proxy {
            match Box::pin(self.introduced()).await {
                Some(arrival) => arrival,
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
            visitor,
        } = arrival;
        if visitor.role == Role::Submissions {
            let secured = Connection::secured(shared, config, visitor, stream);
            if let Some(connection) = Box::pin(secured).await {
                connection.run().await;
            }
        } else {
            Connection::new(shared, config, visitor, stream).run().await;
        }
    }

    /// The same, with the client that the proxy speaks for.
    async fn introduced(mut self) -> Option<Self> {
        let told = tokio::select! {
            told = self.stream.introduction() => told,
            () = self.shared.stopping.cancelled() => return None,
        };
        let proxy = self.visitor.peer;
        match told {
            Ok(Client::At(address)) => self.visitor.peer = Peer::At(address.to_canonical()),
            Ok(Client::Unnamed) => self.visitor.is_named = false,
            Err(reason) => {
                events::bad_proxy(proxy, &reason);
                return None;
            }
        }
        let Visitor { peer, role, .. } = self.visitor;
        match self.slot.assign(peer, &self.config.limits) {
            Ok(()) => Some(self),
            Err(reply) => {
                send_away(self.stream, peer, role, &reply);
                None
            }
        }
    }
}

/// Says why in the one write that a fresh connection takes without waiting. Where a handshake is
/// due, there is no way to say it.
fn send_away(stream: impl Fresh, client: Peer, role: Role, reply: &Reply) {
    events::refused_connection(client, reply);
    if role == Role::Submissions {
        return;
    }
    let mut text = Vec::new();
    reply.encode(&mut text);
    stream.say_and_close(&text);
}
