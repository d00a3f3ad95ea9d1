//! The state that the parts of a running daemon share, and the reload of the configuration.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use relay_control::Certificate;
use relay_mailauth::MailAuth;
use relay_queue::SledStore;
use relay_remote::Remote;
use relay_send::Handle;
use relay_smtpd::inbound_check::InboundCheck;
use relay_smtpd::{ListenerAddress, Role, TlsServer};
use tokio::sync::watch;

use crate::certificates;
use crate::clock;
use crate::config::{Config, NamedFile};
use crate::events;
use crate::log::Log;
use crate::signing::SigningTable;
use crate::standing_rules::StandingRules;
use crate::temporary_relay::TemporaryRelayList;
use crate::users::UsersFile;
use crate::watch::{Stamps, Watch};

/// The daemon as the control API, the timers and the signals see it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<SledStore>,
    pub(crate) sender: Handle<Remote>,
    pub(crate) deliver: Arc<Remote>,
    pub(crate) listeners: Vec<(ListenerAddress, Role)>,
    pub(crate) started: Instant,
    pub(crate) temporary_relay: Arc<TemporaryRelayList>,
    /// Locked until the schedule knows a change, so that it receives changes in their order.
    pub(crate) standing_rules: Arc<tokio::sync::Mutex<StandingRules>>,
    pub(crate) users: Arc<UsersFile>,
    pub(crate) signing: Arc<SigningTable>,
    pub(crate) log: Arc<Log>,
    /// The configuration file that a reload reads again.
    pub(crate) file: Option<PathBuf>,
    pub(crate) current: Mutex<Current>,
    pub(crate) watch: Mutex<Watch>,
    pub(crate) smtpd: watch::Sender<Arc<relay_smtpd::ServerConfig>>,
    pub(crate) remote: watch::Sender<Arc<relay_remote::Config>>,
}

/// The configuration in use, with the certificates that were last valid.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) config: Config,
    pub(crate) tls: Option<Arc<TlsServer>>,
}

impl Current {
    /// Returns the configuration of the server. AUTH is not offered if there are no users.
    pub(crate) fn smtpd(
        &self,
        users: &Arc<UsersFile>,
        temporary_relay: &Arc<TemporaryRelayList>,
        signing: &SigningTable,
        deliver: &Arc<Remote>,
    ) -> Arc<relay_smtpd::ServerConfig> {
        let users = (users.len() > 0).then(|| Arc::clone(users) as Arc<dyn relay_smtpd::Users>);
        Arc::new(relay_smtpd::ServerConfig {
            tls: self.tls.clone(),
            users,
            temporary_relay: Arc::clone(temporary_relay) as Arc<dyn relay_smtpd::TemporaryRelay>,
            signer: signing.signer(),
            inbound: inbound_check(self.config.inbound.settings(&self.config.hostname), deliver),
            ..self.config.smtpd()
        })
    }
}

/// Creates the checks of external clients, with the resolver that deliveries use. Returns `None` if
/// no checks are configured.
fn inbound_check(
    settings: relay_mailauth::Settings,
    deliver: &Arc<Remote>,
) -> Option<Arc<dyn InboundCheck>> {
    let deliver = Arc::clone(deliver);
    let mailauth = MailAuth::new(settings, move || deliver.dns());
    (!mailauth.is_idle()).then(|| Arc::new(mailauth) as Arc<dyn InboundCheck>)
}

impl Shared {
    /// Reads everything again. Returns what was not applied, and why. An invalid file changes
    /// nothing, and neither does an invalid certificate.
    pub(crate) fn reload(&self) -> Vec<String> {
        let Some(file) = &self.file else {
            return vec!["there is no configuration file to read again".to_owned()];
        };
        // The stamps are taken before the files are read. A change in between causes another
        // reload.
        let stamps = Stamps::of([file.as_path()]);
        let read = Config::load(file).and_then(|config| config.check_files().map(|()| config));
        let mut current = self.lock();
        let is_read = read.is_ok();
        let mut problems = match read {
            Ok(config) => self.apply(&mut current.config, config),
            Err(reason) => vec![format!("{reason}; the configuration stays as it was")],
        };
        self.watching().read(stamps.with(watched(&current.config)));
        match current.config.tls.load() {
            Ok(tls) => current.tls = tls.map(Arc::new),
            Err(reason) => problems.push(format!("{reason}; the certificates stay as they were")),
        }
        match current.config.dkim.load() {
            Ok(signer) => self.signing.replace(signer),
            Err(reason) => problems.push(format!("{reason}; the signing keys stay as they were")),
        }
        if let Err(reason) = self.users.reload(current.config.auth.users.path()) {
            let reason = current.config.auth.users.error(reason);
            problems.push(format!("{reason}; the users stay as they were"));
        }
        self.publish(&current);
        if is_read {
            // From here on waiting mail is assigned to destinations by the new routes.
            self.sender
                .reconfigure(send(&current.config, &self.signing));
        }
        drop(current);
        events::reload(file, &problems);
        self.warn_of_expiry(clock::now());
        problems
    }

    fn apply(&self, current: &mut Config, mut config: Config) -> Vec<String> {
        let needs_restart = current.keep_fixed(&mut config);
        self.log.set_level(config.log_level);
        *current = config;
        let problem = |key| format!("{key} has changed, which takes a restart");
        needs_restart.into_iter().map(problem).collect()
    }

    /// Passes the new configuration to the server and to deliveries.
    fn publish(&self, current: &Current) {
        self.smtpd.send_replace(current.smtpd(
            &self.users,
            &self.temporary_relay,
            &self.signing,
            &self.deliver,
        ));
        self.remote
            .send_replace(Arc::new(current.config.remote(&self.listeners)));
    }

    /// Checks for changed files, and reads them again once they no longer change.
    pub(crate) fn look(&self) {
        let had_users = self.users.len() > 0;
        self.users.refresh();
        if had_users != (self.users.len() > 0) {
            self.publish(&self.lock());
        }
        let Some(file) = &self.file else { return };
        let stamps = Stamps::of([file.as_path()]).with(watched(&self.lock().config));
        let has_changed = self.watching().look(stamps);
        if has_changed {
            self.reload();
        }
    }

    /// Describes our certificates as clients see them.
    pub(crate) fn certificates(&self, now: SystemTime) -> Vec<Certificate> {
        let current = self.lock();
        certificates::described(current.tls.as_deref(), now)
    }

    /// Logs which certificates expire soon.
    pub(crate) fn warn_of_expiry(&self, now: SystemTime) {
        let certificates = self.certificates(now);
        for certificate in certificates.iter().filter(|c| c.needs_renewal()) {
            events::expiring(certificate);
        }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.lock().config.state_dir.clone()
    }

    pub(crate) fn concurrency(&self) -> u32 {
        self.lock().config.concurrency.overall
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // Each part is replaced as a whole, so the values are consistent even after a panic.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watching(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the configuration of the schedule. Its reports are signed with the keys in use at that
/// time.
pub(crate) fn send(config: &Config, signing: &Arc<SigningTable>) -> relay_send::Config {
    relay_send::Config {
        signer: Some(Arc::clone(signing) as Arc<dyn relay_send::Sign>),
        ..config.send()
    }
}

/// Returns the files whose changes cause a reload, in addition to the configuration file. The users
/// file is watched separately.
pub(crate) fn watched(config: &Config) -> impl Iterator<Item = &Path> {
    config.files().map(NamedFile::path)
}
