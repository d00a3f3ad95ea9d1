//! The listeners and the sessions that come of them.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_queue::{Message, QueueStore};
use relay_smtp::Reply;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::buffers::BufferPool;
use crate::config::{Config, ListenerConfig};
use crate::connection::{Connection, Shared};
use crate::events;
use crate::listener::{BindError, bind};
use crate::slots::Slots;

/// How long a message that is coming in is waited for when the relay goes down.
pub const DRAIN: Duration = Duration::from_secs(5);
/// The first pause after a failed accept; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Listeners that are open and wait for [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

/// What a listener needs to start a session.
struct Starter<S> {
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
        let mut server = Self {
            listeners: Vec::with_capacity(listeners.len()),
            addresses: Vec::with_capacity(listeners.len()),
        };
        for config in listeners {
            let listener = bind(config, listeners)?;
            let address = listener.local_addr().map_err(|source| BindError {
                address: config.address,
                source,
            })?;
            server.addresses.push(address);
            server.listeners.push(listener);
        }
        Ok(server)
    }

    /// The addresses that are listened on, in the order of the configuration, with real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
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
                stopping: shutdown.clone(),
            }),
            config,
            slots: Arc::default(),
            sessions: TaskTracker::new(),
            aborting: CancellationToken::new(),
        });
        for listener in self.listeners {
            starter
                .sessions
                .spawn(accept(listener, Arc::clone(&starter)));
        }
        shutdown.cancelled().await;
        starter.sessions.close();
        if timeout(DRAIN, starter.sessions.wait()).await.is_err() {
            starter.aborting.cancel();
            starter.sessions.wait().await;
        }
    }
}

/// Takes connections; trouble makes it pause, never end.
async fn accept<S: QueueStore>(listener: TcpListener, starter: Arc<Starter<S>>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            () = starter.shared.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                pause = FIRST_PAUSE;
                starter.start(stream, client);
            }
            Err(error) if is_of_one_connection(&error) => {}
            // Out of file descriptors or memory: sessions that end will give some back.
            Err(error) => {
                events::accept_failed(listener.local_addr().ok(), &error);
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
    fn start(&self, stream: TcpStream, client: SocketAddr) {
        let client = client.ip().to_canonical();
        let config = Arc::clone(&self.config.borrow());
        let slot = match self.slots.take(client, &config.limits) {
            Ok(slot) => slot,
            Err(reply) => {
                events::refused_connection(client, &reply);
                return send_away(stream, &reply);
            }
        };
        let connection = Connection::new(Arc::clone(&self.shared), config, client, stream);
        let aborting = self.aborting.clone();
        self.sessions.spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = connection.run() => {}
                () = aborting.cancelled() => {}
            }
        });
    }
}

/// Says why in the one write that a fresh connection takes without waiting.
fn send_away(stream: TcpStream, reply: &Reply) {
    let mut text = Vec::new();
    reply.encode(&mut text);
    if let Ok(mut stream) = stream.into_std() {
        // A client that is gone already needs no answer.
        let _ = stream.write_all(&text);
    }
}
