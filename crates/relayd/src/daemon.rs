//! The daemon put together: store, sender, server and control socket, from start to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use relay_queue::{Message, QueueStore, SledStore, StoreConfig, StoreError};
use relay_remote::Remote;
use relay_send::{Handle, SystemClock};
use relay_smtpd::{BindError, Role, Server};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ControlError, SocketFile};
use crate::config::Config;
use crate::delivery::Delivery;
use crate::events;
use crate::log::Log;
use crate::statedir;

/// Bodies up to this many octets live in the database.
///
/// With values of 16 KiB, sled's files grow to many times what is in them; with a bound of 4 KiB, a
/// message of that size with its header section would cost a file and two syncs of its own.
const INLINE_BODY: usize = 8 * 1024;
/// How long deliveries that are under way are waited for at the end; sessions have the like.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the queue may take to close after that.
const CLOSE: Duration = Duration::from_secs(3);

/// Why the daemon does not start; each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("state_dir {}: {source}{}", dir.display(), hint(source))]
    Store {
        /// The state directory.
        dir: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// A socket cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// What to change, where the reason does not say it.
fn hint(reason: &StoreError) -> &'static str {
    match reason {
        StoreError::Io { .. } => "; it must be a directory that the user of relayd can write to",
        _ => "",
    }
}

/// A running relay.
#[derive(Debug)]
pub struct Daemon {
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
    control: JoinHandle<()>,
    _socket: SocketFile,
}

/// What the control API sees of the daemon.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<SledStore>,
    pub(crate) sender: Handle<Delivery>,
    pub(crate) deliver: Arc<Delivery>,
    pub(crate) listeners: Vec<(SocketAddr, Role)>,
    pub(crate) started: Instant,
    log: Arc<Log>,
    file: Option<PathBuf>,
    config: Mutex<Config>,
    smtpd: watch::Sender<Arc<relay_smtpd::Config>>,
    remote: watch::Sender<Arc<relay_remote::Config>>,
}

impl Daemon {
    /// Opens everything and starts to work. `file` is what a reload reads again.
    pub async fn start(
        config: Config,
        file: Option<PathBuf>,
        log: Arc<Log>,
    ) -> Result<Self, StartError> {
        let server = Server::bind(&config.listeners)?;
        let (socket, socket_file) = api::bind(&config.control)?;
        let roles = config.listeners.iter().map(|listener| listener.role);
        let listeners: Vec<_> = server.addresses().iter().copied().zip(roles).collect();
        let store = Arc::new(open_store(&config).await?);
        let (smtpd, smtpd_config) = watch::channel(Arc::new(config.smtpd()));
        let (remote, remote_config) = watch::channel(Arc::new(config.remote(&listeners)));
        let deliver = Arc::new(Delivery(Remote::new(remote_config)));
        announce(&config, &listeners, &store);
        let sender = relay_send::start(
            Arc::clone(&store),
            Arc::clone(&deliver),
            config.send(),
            SystemClock,
        );
        let shutdown = CancellationToken::new();
        let shared = Arc::new(Shared {
            store: Arc::clone(&store),
            sender: sender.clone(),
            deliver,
            listeners,
            started: now(),
            log,
            file,
            config: Mutex::new(config),
            smtpd,
            remote,
        });
        let accepted = Arc::new(move |message: Message| sender.accepted(&message));
        let server = server.run(store, smtpd_config, accepted, shutdown.clone());
        let control = api::serve(socket, Arc::clone(&shared), shutdown.clone());
        Ok(Self {
            shared,
            server: tokio::spawn(server),
            control: tokio::spawn(control),
            shutdown,
            _socket: socket_file,
        })
    }

    /// The sockets that are open, with real ports.
    pub fn listeners(&self) -> &[(SocketAddr, Role)] {
        &self.shared.listeners
    }

    /// Messages in the queue, and those of them that no attempt has been made for yet.
    pub fn counts(&self) -> (u64, u64) {
        let store = &self.shared.store;
        (store.count(), store.count_fresh())
    }

    /// Reads the configuration again; what was not applied, and why.
    pub fn reload(&self) -> Vec<String> {
        self.shared.reload()
    }

    /// Takes nothing more in, waits for what is under way within a bound, and closes the queue.
    pub async fn stop(self) -> Result<(), StoreError> {
        events::stopping();
        self.shutdown.cancel();
        // A server that has panicked is as stopped as it can be.
        let _ = tokio::join!(self.server, self.shared.sender.shutdown(DRAIN));
        self.control.abort();
        let store = &self.shared.store;
        let left = store.count();
        let closed = timeout(CLOSE, store.close()).await;
        // A disk that hangs holds nothing that was acknowledged: that is on it already.
        closed.unwrap_or(Ok(()))?;
        events::stopped(left);
        Ok(())
    }
}

impl Shared {
    /// Reads the configuration again; what was not applied, and why. A file that is not good
    /// changes nothing.
    pub(crate) fn reload(&self) -> Vec<String> {
        let Some(file) = &self.file else {
            return vec!["there is no configuration file to read again".to_owned()];
        };
        let problems = match Config::load(file) {
            Ok(config) => self.apply(config),
            Err(reason) => vec![format!("{reason}; the configuration stays as it was")],
        };
        events::reload(file, &problems);
        problems
    }

    fn apply(&self, mut config: Config) -> Vec<String> {
        let mut current = self.lock();
        let needs_restart = current.keep_fixed(&mut config);
        self.log.set_level(config.log_level);
        self.smtpd.send_replace(Arc::new(config.smtpd()));
        self.remote
            .send_replace(Arc::new(config.remote(&self.listeners)));
        self.sender.reconfigure(config.send());
        *current = config;
        let problem = |key| format!("{key} has changed, which takes a restart");
        needs_restart.into_iter().map(problem).collect()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.lock().state_dir.clone()
    }

    pub(crate) fn concurrency(&self) -> u32 {
        self.lock().delivery.concurrency
    }

    fn lock(&self) -> MutexGuard<'_, Config> {
        // It is replaced whole, so whoever panicked left a good one.
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeping a large queue takes a while, so it is done where it holds nobody up.
async fn open_store(config: &Config) -> Result<SledStore, StartError> {
    let dir = config.state_dir.clone();
    let store_config = StoreConfig {
        state_dir: dir.clone(),
        min_free: config.queue.min_free,
        inline_body: INLINE_BODY,
    };
    let opened = tokio::task::spawn_blocking(move || SledStore::open(&store_config)).await;
    let died = |reason: tokio::task::JoinError| StoreError::Closed {
        reason: reason.to_string(),
    };
    let opened = opened.map_err(died).flatten();
    opened.map_err(|source| StartError::Store { dir, source })
}

fn announce(config: &Config, listeners: &[(SocketAddr, Role)], store: &SledStore) {
    events::start(env!("CARGO_PKG_VERSION"), &config.hostname);
    if !config.hostname.contains('.') {
        events::short_name(&config.hostname);
    }
    for (address, role) in listeners {
        events::listening(*address, role_name(*role));
    }
    events::control(&config.control);
    events::state(&config.state_dir, store.count(), store.count_damaged());
    if let Some(kind) = statedir::forgetful(&config.state_dir) {
        events::forgetful(&config.state_dir, kind);
    }
}

/// As the configuration has it.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Mx => "mx",
    }
}

/// The uptime counts from here; no decision about mail hangs on it.
#[expect(clippy::disallowed_methods, reason = "for the uptime that qstat shows")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
