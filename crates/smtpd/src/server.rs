//! The server: opens the listeners, accepts connections, shuts down.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use relay_message::{Message, QueueStore};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::ListenerAddress;
use crate::auth::Authenticator;
use crate::buffers::BufferPool;
use crate::config::{ListenerConfig, ServerConfig};
use crate::connection::SharedState;
use crate::events;
use crate::listener::{Accept, BindError, BoundListener, bind};
use crate::local_session::{LocalSessions, PendingLocalSessions, accept_local};
use crate::signing_pool::SigningPool;
use crate::spawner::SessionSpawner;

/// How long a shutdown waits for messages that are coming in.
pub const DRAIN: Duration = Duration::from_secs(5);
/// The last part of the drain, in which clients get the reply that their message took too long.
const FAREWELL: Duration = Duration::from_secs(1);
/// The first pause after a failed accept; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Open listeners that wait for [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listeners: Vec<(BoundListener, ListenerConfig)>,
    addresses: Vec<ListenerAddress>,
    local_sessions: LocalSessions,
    pending_local: PendingLocalSessions,
}

impl Server {
    /// Opens all listeners. If one fails, none stays open. Must be called within a runtime.
    pub fn bind(listeners: &[ListenerConfig]) -> Result<Self, BindError> {
        let (local_sessions, pending_local) = LocalSessions::new();
        let mut server = Self {
            local_sessions,
            pending_local,
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

    /// The addresses of the listeners with their real ports, in the order of the configuration.
    pub fn addresses(&self) -> &[ListenerAddress] {
        &self.addresses
    }

    /// Opens sessions without a listener. They are served once the server runs.
    pub fn local_sessions(&self) -> LocalSessions {
        self.local_sessions.clone()
    }

    /// Serves until `shutdown`, then ends idle sessions at once and others within [`DRAIN`].
    ///
    /// `accepted` is called for each message after it is stored and before the client gets its reply.
    pub async fn run<S: QueueStore>(
        self,
        store: Arc<S>,
        config: watch::Receiver<Arc<ServerConfig>>,
        accepted: Arc<dyn Fn(Message) + Send + Sync>,
        shutdown: CancellationToken,
    ) {
        let spawner = Arc::new(SessionSpawner {
            shared: Arc::new(SharedState {
                store,
                accepted,
                buffers: BufferPool::default(),
                authenticator: Authenticator::new(),
                signing_pool: Arc::new(SigningPool::new()),
                stopping: shutdown.clone(),
                ending: CancellationToken::new(),
            }),
            config,
            slots: Arc::default(),
            sessions: TaskTracker::new(),
            aborting: CancellationToken::new(),
        });
        for (listener, config) in self.listeners {
            let (config, spawner) = (Arc::new(config), Arc::clone(&spawner));
            let sessions = spawner.sessions.clone();
            match listener {
                BoundListener::Tcp(tcp) => sessions.spawn(accept(tcp, config, spawner)),
                BoundListener::Unix(unix) => sessions.spawn(accept(unix, config, spawner)),
            };
        }
        let local = accept_local(self.pending_local, Arc::clone(&spawner));
        spawner.sessions.spawn(local);
        shutdown.cancelled().await;
        spawner.sessions.close();
        let wait = |time| timeout(time, spawner.sessions.wait());
        if wait(DRAIN.saturating_sub(FAREWELL)).await.is_ok() {
            return;
        }
        spawner.shared.ending.cancel();
        if wait(FAREWELL).await.is_err() {
            spawner.aborting.cancel();
            spawner.sessions.wait().await;
        }
    }
}

/// Accepts connections. An error makes it pause, but never end.
async fn accept<S: QueueStore, L: Accept>(
    listener: L,
    config: Arc<ListenerConfig>,
    spawner: Arc<SessionSpawner<S>>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            () = spawner.shared.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                pause = FIRST_PAUSE;
                spawner.start(stream, client, &config);
            }
            Err(error) if is_of_one_connection(&error) => {}
            // Out of file descriptors or memory: sessions that end will release some.
            Err(error) => {
                events::accept_failed(&config.address, &error);
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }
}

/// accept(2): an error of one connection says nothing about the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
