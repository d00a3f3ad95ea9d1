//! The daemon put together: store, sender, server and control socket, from start to stop.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use relay_queue::{Message, QueueStore, SledStore, StoreConfig, StoreError};
use relay_remote::Remote;
use relay_send::{Concurrency, Handle, RetryPolicy, SystemClock};
use relay_smtpd::{BindError, Role, Server};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ControlError};
use crate::config::Config;
use crate::delivery::Delivery;
use crate::events;

/// Bodies up to this many octets live in the database.
const INLINE_BODY: usize = 4 * 1024;
/// How long deliveries that are under way are waited for when the daemon stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the daemon does not start; each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("state_dir {dir}: {source}")]
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

/// A running relay.
#[derive(Debug)]
pub struct Daemon {
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
    control: JoinHandle<io::Result<()>>,
}

/// What the control API sees of the daemon.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<SledStore>,
    pub(crate) sender: Handle<Delivery>,
    pub(crate) deliver: Arc<Delivery>,
    pub(crate) listeners: Vec<(SocketAddr, Role)>,
    pub(crate) started: Instant,
    file: Option<PathBuf>,
    config: Mutex<Config>,
    smtpd: watch::Sender<Arc<relay_smtpd::Config>>,
    remote: watch::Sender<Arc<relay_remote::Config>>,
}

impl Daemon {
    /// Opens everything and starts to work. `file` is what a reload reads again.
    pub async fn start(config: Config, file: Option<PathBuf>) -> Result<Self, StartError> {
        let server = Server::bind(&config.listeners)?;
        let listeners: Vec<_> = server
            .addresses()
            .iter()
            .zip(&config.listeners)
            .map(|(address, listener)| (*address, listener.role))
            .collect();
        let store = Arc::new(open_store(&config).await?);
        let (smtpd, smtpd_config) = watch::channel(Arc::new(smtpd_config(&config)));
        let (remote, remote_config) = watch::channel(Arc::new(remote_config(&config, &listeners)));
        let deliver = Arc::new(Delivery(Remote::new(remote_config)));
        let sender = relay_send::start(
            Arc::clone(&store),
            Arc::clone(&deliver),
            send_config(&config),
            SystemClock,
        );
        let socket = api::bind(&config.control)?;
        announce(&config, &listeners, &store);
        let shutdown = CancellationToken::new();
        let shared = Arc::new(Shared {
            store: Arc::clone(&store),
            sender: sender.clone(),
            deliver,
            listeners,
            started: now(),
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
        })
    }

    /// The sockets that are open, with real ports.
    pub fn listeners(&self) -> &[(SocketAddr, Role)] {
        &self.shared.listeners
    }

    /// Reads the configuration again; what was not applied, and why.
    pub fn reload(&self) -> Vec<String> {
        self.shared.reload()
    }

    /// Takes nothing more in, waits for what is under way within a bound, and closes the queue.
    pub async fn stop(self) -> Result<(), StoreError> {
        events::stopping();
        self.shutdown.cancel();
        let _ = tokio::join!(self.server, self.shared.sender.shutdown(DRAIN));
        let socket = self.shared.control_socket();
        self.control.abort();
        // A socket that stays behind is replaced at the next start.
        let _ = std::fs::remove_file(socket);
        let left = self.shared.store.count();
        self.shared.store.close().await?;
        events::stopped(left);
        Ok(())
    }
}

impl Shared {
    /// Reads the configuration again; what was not applied, and why. A file that is not good
    /// changes nothing.
    pub(crate) fn reload(&self) -> Vec<String> {
        let Some(file) = &self.file else {
            return vec!["there is no configuration file to read again".into()];
        };
        let problems = match Config::load(file) {
            Ok(config) => self.apply(config),
            Err(e) => vec![format!("{e}; the running configuration stays")],
        };
        events::reload(file, &problems);
        problems
    }

    fn apply(&self, config: Config) -> Vec<String> {
        let mut current = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let fixed = [
            ("state_dir", current.state_dir != config.state_dir),
            ("[[listener]]", current.listeners != config.listeners),
            ("control.socket", current.control != config.control),
            (
                "queue.min_free",
                current.queue.min_free != config.queue.min_free,
            ),
            ("log.format", current.log_format != config.log_format),
            ("log.level", current.log_level != config.log_level),
        ];
        self.smtpd.send_replace(Arc::new(smtpd_config(&config)));
        self.remote
            .send_replace(Arc::new(remote_config(&config, &self.listeners)));
        self.sender.reconfigure(send_config(&config));
        *current = Config {
            state_dir: current.state_dir.clone(),
            listeners: current.listeners.clone(),
            control: current.control.clone(),
            ..config
        };
        let changed = fixed.iter().filter(|(_, has_changed)| *has_changed);
        changed
            .map(|(key, _)| format!("{key} has changed, which takes a restart"))
            .collect()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.lock().state_dir.clone()
    }

    pub(crate) fn concurrency(&self) -> u32 {
        self.lock().delivery.concurrency
    }

    fn control_socket(&self) -> PathBuf {
        self.lock().control.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Config> {
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
    let closed = |_| StoreError::Closed {
        reason: "it was opened by a thread that has ended".into(),
    };
    opened
        .map_err(closed)
        .flatten()
        .map_err(|source| StartError::Store { dir, source })
}

fn announce(config: &Config, listeners: &[(SocketAddr, Role)], store: &SledStore) {
    events::start(env!("CARGO_PKG_VERSION"), &config.hostname);
    for (address, role) in listeners {
        events::listening(*address, role_name(*role));
    }
    events::state(&config.state_dir, store.count(), store.count_damaged());
    if let Some(kind) = forgetful_filesystem(&config.state_dir) {
        events::forgetful(&config.state_dir, kind);
    }
    events::control(&config.control);
}

/// As the configuration has it.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Mx => "mx",
    }
}

/// A file system that is gone with the machine or the container.
fn forgetful_filesystem(dir: &Path) -> Option<&'static str> {
    use nix::sys::statfs;
    match statfs::statfs(dir).ok()?.filesystem_type() {
        statfs::TMPFS_MAGIC => Some("tmpfs"),
        statfs::OVERLAYFS_SUPER_MAGIC => Some("an overlay"),
        _ => None,
    }
}

fn smtpd_config(config: &Config) -> relay_smtpd::Config {
    relay_smtpd::Config {
        hostname: config.hostname.as_str().into(),
        postmaster: config.postmaster.clone(),
        relay: config.relay.clone(),
        limits: config.limits,
    }
}

fn remote_config(config: &Config, listeners: &[(SocketAddr, Role)]) -> relay_remote::Config {
    let delivery = &config.delivery;
    let bound = listeners.iter().map(|(address, _)| *address);
    relay_remote::Config {
        hostname: config.hostname.clone(),
        port: delivery.port,
        connect_timeout: delivery.connect_timeout,
        command_timeout: delivery.command_timeout,
        ip: delivery.ip,
        refuse_addresses: delivery.refuse_addresses.clone(),
        routes: config.routes.clone(),
        dns_servers: config.dns_servers.clone(),
        own_addresses: bound
            .filter(|address| !address.ip().is_unspecified())
            .collect(),
    }
}

fn send_config(config: &Config) -> relay_send::Config {
    relay_send::Config {
        hostname: config.hostname.clone(),
        postmaster: config.postmaster.clone(),
        retry: RetryPolicy {
            lifetime: config.queue.lifetime,
            unit: config.queue.retry_unit,
            max_interval: config.queue.retry_max_interval,
        },
        concurrency: Concurrency {
            overall: config.delivery.concurrency,
            per_destination: config.delivery.concurrency_per_destination,
        },
    }
}

/// The uptime counts from here; no decision about mail hangs on it.
#[expect(clippy::disallowed_methods, reason = "for the uptime that qstat shows")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
