//! The daemon: starts and stops the store, the sender, the server and the control socket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relay_message::{Message, QueueStore, StoreError};
use relay_queue::{Note, SledStore};
use relay_remote::Remote;
use relay_send::SystemClock;
use relay_smtpd::{BindError, ListenerAddress, LocalSessions, Role, Server, SocketFile, TlsServer};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::{self, ControlError};
use crate::clock;
use crate::config::{Config, ConfigError};
use crate::events;
use crate::log::Log;
use crate::maildrop::{self, Maildrop};
use crate::queue_note::QueueNote;
use crate::role::role_name;
use crate::shared::{self, Current, Shared, watched};
use crate::signing::SigningTable;
use crate::standing_rules::StandingRules;
pub use crate::standing_rules::StandingRulesError;
use crate::statedir;
pub use crate::store::OpenStoreError;
use crate::store::open_store;
pub use crate::temporary_relay::TemporaryRelayError;
use crate::temporary_relay::TemporaryRelayList;
use crate::users::UsersFile;
use crate::watch::{Stamps, Watch};

/// How long the shutdown waits for deliveries under way. Sessions have a similar limit.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the queue may take to close after that.
const CLOSE: Duration = Duration::from_secs(3);
/// How often files are checked for changes. A change counts when it is seen twice.
const LOOK: Duration = Duration::from_secs(1);
/// How often expiring certificates are reported.
const DAY: Duration = Duration::from_hours(24);

/// Why the daemon does not start. Each error says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// A socket cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A file that the configuration names cannot be used.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The list of temporary permissions cannot be used.
    #[error("state_dir: {0}")]
    TemporaryRelay(#[from] TemporaryRelayError),
    /// The operator's rules cannot be read.
    #[error("state_dir: {0}")]
    StandingRules(#[from] StandingRulesError),
}

/// A running relay.
#[derive(Debug)]
pub struct Daemon {
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
    control: JoinHandle<()>,
    maildrop: Option<JoinHandle<()>>,
    _socket: SocketFile,
}

impl Daemon {
    /// Opens everything and starts to work. A reload reads `file` again.
    pub async fn start(
        config: Config,
        file: Option<PathBuf>,
        log: Arc<Log>,
    ) -> Result<Self, StartError> {
        let read = Read::of(&config, file.as_deref())?;
        let server = Server::bind(&config.listeners)?;
        let (socket, socket_file) = api::bind(&config.control)?;
        let roles = config.listeners.iter().map(|listener| listener.role);
        let listeners: Vec<_> = server.addresses().iter().cloned().zip(roles).collect();
        let store = Arc::new(open_store(&config).await?);
        let (temporary_relay, standing_rules) = open_notes(&config.state_dir, &store).await?;
        let temporary_relay = Arc::new(temporary_relay);
        let maildrop = open_maildrop(&config.state_dir, server.local_sessions());
        announce(&config, &listeners, &store);
        let current = Current {
            config,
            tls: read.tls,
        };
        let remote = Arc::new(current.config.remote(&listeners));
        let (remote, remote_config) = watch::channel(remote);
        let deliver = Arc::new(Remote::new(remote_config));
        let (smtpd, smtpd_config) =
            watch::channel(current.smtpd(&read.users, &temporary_relay, &read.signing, &deliver));
        let sender = relay_send::start(
            Arc::clone(&store),
            Arc::clone(&deliver),
            relay_send::Config {
                standing_rules: standing_rules.for_send(),
                ..shared::send(&current.config, &read.signing)
            },
            SystemClock,
        );
        let shutdown = CancellationToken::new();
        let shared = Arc::new(Shared {
            store: Arc::clone(&store),
            sender: sender.clone(),
            deliver,
            listeners,
            started: clock::started(),
            temporary_relay,
            standing_rules: Arc::new(tokio::sync::Mutex::new(standing_rules)),
            users: read.users,
            signing: read.signing,
            log,
            file,
            current: Mutex::new(current),
            watch: Mutex::new(read.watch),
            smtpd,
            remote,
        });
        shared.warn_of_expiry(clock::now());
        let accepted = Arc::new(move |message: Message| sender.accepted(&message));
        let maildrop = maildrop.map(|it| tokio::spawn(it.keep(shutdown.clone())));
        let server = server.run(store, smtpd_config, accepted, shutdown.clone());
        let control = api::serve(socket, Arc::clone(&shared), shutdown.clone());
        tokio::spawn(keep_watch(Arc::clone(&shared), shutdown.clone()));
        Ok(Self {
            shared,
            server: tokio::spawn(server),
            control: tokio::spawn(control),
            maildrop,
            shutdown,
            _socket: socket_file,
        })
    }

    /// Returns the open sockets with their real ports.
    pub fn listeners(&self) -> &[(ListenerAddress, Role)] {
        &self.shared.listeners
    }

    /// Returns the number of messages in the queue, and how many of them were never tried.
    pub fn counts(&self) -> (u64, u64) {
        let store = &self.shared.store;
        (store.count(), store.count_fresh())
    }

    /// Reads the configuration again. Returns what was not applied, and why.
    pub fn reload(&self) -> Vec<String> {
        self.shared.reload()
    }

    /// Stops accepting mail, waits a limited time for work under way, and closes the queue.
    pub async fn stop(self) -> Result<(), StoreError> {
        events::stopping();
        self.shutdown.cancel();
        // A server that has panicked has stopped as well.
        let _ = tokio::join!(self.server, self.shared.sender.shutdown(DRAIN));
        if let Some(maildrop) = self.maildrop {
            // A message that has just entered the queue must still be removed from the maildrop.
            let _ = timeout(CLOSE, maildrop).await;
        }
        self.control.abort();
        self.shared.deliver.close().await;
        let store = &self.shared.store;
        let left = store.count();
        let closed = timeout(CLOSE, store.close()).await;
        // If the disk hangs, no acknowledged message is lost: it is already on the disk.
        closed.unwrap_or(Ok(()))?;
        events::stopped(left);
        Ok(())
    }
}

/// The content of the files that the configuration names.
struct Read {
    tls: Option<Arc<TlsServer>>,
    users: Arc<UsersFile>,
    signing: Arc<SigningTable>,
    watch: Watch,
}

impl Read {
    fn of(config: &Config, file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut watch = Watch::default();
        watch.read(Stamps::of(file).with(watched(config)));
        Ok(Self {
            tls: config.tls.load()?.map(Arc::new),
            users: Arc::new(config.auth.load()?),
            signing: Arc::new(SigningTable::new(Arc::new(config.dkim.load()?))),
            watch,
        })
    }
}

/// Reads what the relay keeps in the queue beside mail, and takes over the files of earlier versions.
async fn open_notes(
    state_dir: &Path,
    store: &Arc<SledStore>,
) -> Result<(TemporaryRelayList, StandingRules), StartError> {
    let kept = |note, file| {
        let is_earlier = store.note(note).is_none() && state_dir.join(file).exists();
        let kept = QueueNote {
            store: Arc::clone(store),
            note,
            earlier: state_dir.join(file),
        };
        (Box::new(kept), is_earlier)
    };
    let (permissions, take_permissions) = kept(Note::TemporaryRelay, "acl");
    let (rules, take_rules) = kept(Note::StandingRules, "orders");
    let read = move || {
        let permissions = TemporaryRelayList::open(permissions, clock::now())?;
        let rules = StandingRules::open(rules)?;
        if take_permissions {
            permissions.take_over(clock::now())?;
        }
        if take_rules {
            rules.take_over()?;
        }
        Ok((permissions, rules))
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Opens the maildrop. If that fails, the relay runs without it.
fn open_maildrop(state_dir: &Path, sessions: LocalSessions) -> Option<Arc<Maildrop>> {
    let opened = Maildrop::open(state_dir, sessions).inspect_err(|reason| {
        events::maildrop_unusable(&maildrop::path(state_dir), reason);
    });
    opened.ok().map(Arc::new)
}

/// Checks for changed files and expiring certificates until the shutdown.
async fn keep_watch(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut days = interval_at(Instant::now() + DAY, DAY);
    loop {
        let work: fn(&Shared) = tokio::select! {
            () = shutdown.cancelled() => return,
            _ = looks.tick() => Shared::look,
            _ = days.tick() => |shared| shared.warn_of_expiry(clock::now()),
        };
        let shared = Arc::clone(&shared);
        // A panic is logged, and the next round tries again.
        let _ = tokio::task::spawn_blocking(move || work(&shared)).await;
    }
}

fn announce(config: &Config, listeners: &[(ListenerAddress, Role)], store: &SledStore) {
    events::start(env!("CARGO_PKG_VERSION"), &config.hostname);
    if !config.hostname.contains('.') {
        events::short_name(&config.hostname);
    }
    for (address, role) in listeners {
        events::listening(address, role_name(*role));
    }
    events::control(&config.control);
    events::state(&config.state_dir, store.count(), store.count_damaged());
    if let Some(kind) = statedir::ephemeral(&config.state_dir) {
        events::ephemeral(&config.state_dir, kind);
    }
}
