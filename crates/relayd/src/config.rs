//! The configuration file. It is read once and strictly, so every [`Config`] is valid.

mod convert;
mod dkim;
mod inbound;
mod named_files;
mod reload;
mod rewrite;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use relay_config::schema::{self, File, given};
use relay_config::values::{Text, values};
pub use relay_config::{ConfigError, NamedFile};
use relay_config::{KeyStep, ListenAddress, Source, Strict, key};
use relay_send::{Concurrency, ReportPolicy, RetryPolicy};
use relay_smtp::Mailbox;
use relay_smtp::body::BareNewline;
use relay_smtpd::{Limits, ListenerAddress, ListenerConfig, RelayRules, Rewriting, Role};

pub use self::dkim::DkimConfig;
pub use self::inbound::InboundConfig;
pub use self::named_files::{CertificateFiles, TlsConfig};
use crate::log::{Level, LogFormat};

/// The configuration, checked and converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name in the greeting, EHLO and Received.
    pub hostname: String,
    /// The recipient of double bounces.
    pub postmaster: Mailbox,
    /// The directory with everything that must not be lost, as an absolute path.
    pub state_dir: PathBuf,
    /// The sockets to listen on; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Who may relay.
    pub relay: RelayRules,
    /// The limits for incoming mail.
    pub limits: Limits,
    /// Our certificates.
    pub tls: TlsConfig,
    /// Who may log in.
    pub auth: AuthConfig,
    /// How long mail is kept and when it is retried.
    pub retry: RetryPolicy,
    /// Who gets reports, and how many.
    pub reports: ReportPolicy,
    /// How many octets of the disk are kept free.
    pub min_free: u64,
    /// How mail is delivered: `[delivery]`, `[[route]]` and `[dns]`.
    pub delivery: relay_remote::Config,
    /// How many deliveries run at the same time.
    pub concurrency: Concurrency,
    /// How addresses of submitted mail are rewritten.
    pub rewriting: Rewriting,
    /// The keys that sign our own mail.
    pub dkim: DkimConfig,
    /// The checks of external clients and their mail.
    pub inbound: InboundConfig,
    /// The path of the control socket.
    pub control: PathBuf,
    /// The format of the log.
    pub log_format: LogFormat,
    /// The level up to which events are logged.
    pub log_level: Level,
    /// The files with passwords and certificate authorities that deliveries need.
    needed: Vec<NamedFile>,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// Where the users are.
    pub users: NamedFile,
    /// How long a client is refused after too many failed logins.
    pub lockout: Duration,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(file, &relay_config::read_text(file)?)
    }

    /// Checks the text of a file; `file` is its name in errors.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let Strict { file, source } = Strict::parse(file, text)?;
        Mapping { file, source }.into_config()
    }
}

/// Converts the values of the file to the types of the crates that use them.
struct Mapping<'a> {
    file: File,
    source: Source<'a>,
}

impl Mapping<'_> {
    fn into_config(self) -> Result<Config, ConfigError> {
        let deliveries = relay_routing::of_file(&self.file, &self.source)?;
        let dkim = self.dkim()?;
        let (inbound, rewriting, limits) = (self.inbound(), self.rewriting(), self.limits());
        let (tls, auth) = (self.certificates(), self.auth());
        let password_files = relay_routing::password_files(&self.file, &self.source);
        let needed = password_files.into_iter().chain(self.ca_file()).collect();
        let path = self.source.file();
        let file_error = |reason| ConfigError::of_file(path, reason);
        let File {
            postmaster,
            relay,
            queue,
            delivery,
            ..
        } = self.file;
        let hostname = deliveries.hostname.clone();
        let postmaster = match postmaster {
            Some(mailbox) => mailbox.0,
            None => format!("postmaster@{hostname}")
                .parse()
                .map_err(|reason| file_error(format!("postmaster: {reason}: set it")))?,
        };
        let state_dir = std::path::absolute(&self.file.state_dir.0)
            .map_err(|reason| file_error(format!("state_dir: {reason}")))?;
        Ok(Config {
            hostname,
            postmaster,
            state_dir,
            listeners: self.file.listener.into_iter().map(listener).collect(),
            relay: RelayRules {
                networks: values(relay.networks),
                domains: values(relay.domains),
                bad_senders: relay.bad_senders.into_iter().map(|s| s.0).collect(),
            },
            limits,
            tls,
            auth,
            retry: RetryPolicy {
                lifetime: queue.lifetime.0,
                unit: queue.retry_unit.0,
                max_interval: queue.retry_max_interval.0,
            },
            reports: ReportPolicy {
                delay_notice: queue.delay_notice.0.0,
                per_sender: queue.bounces_per_sender.0,
            },
            min_free: queue.min_free.0.as_u64(),
            delivery: deliveries,
            concurrency: Concurrency {
                overall: delivery.concurrency.0,
                per_destination: delivery.concurrency_per_destination.0,
            },
            rewriting,
            dkim,
            inbound,
            control: self.file.control.socket.0,
            log_format: log_format(self.file.log.format),
            log_level: log_level(self.file.log.level),
            needed,
        })
    }

    fn certificates(&self) -> TlsConfig {
        let tls = &self.file.tls;
        let named = |path: &[KeyStep], file: &Path| self.source.named(path, file);
        let at = |name| [key("tls"), key(name)];
        let extra = |index, name| [key("tls"), key("extra"), KeyStep::Index(index), key(name)];
        let mut pairs = Vec::new();
        if given(&tls.certificate).is_some() {
            pairs.push(CertificateFiles {
                certificate: named(&at("certificate"), &tls.certificate),
                key: named(&at("key"), &tls.key),
            });
        }
        let others = tls.extra.iter().enumerate();
        pairs.extend(others.map(|(index, pair)| CertificateFiles {
            certificate: named(&extra(index, "certificate"), &pair.certificate),
            key: named(&extra(index, "key"), &pair.key),
        }));
        TlsConfig {
            pairs,
            session_tickets: tls.session_tickets,
        }
    }

    fn auth(&self) -> AuthConfig {
        let auth = &self.file.auth;
        AuthConfig {
            users: self.source.named(&[key("auth"), key("users")], &auth.users),
            lockout: auth.lockout.0,
        }
    }

    fn ca_file(&self) -> Option<NamedFile> {
        let path = [key("delivery"), key("ca_file")];
        let file = given(&self.file.delivery.ca_file)?;
        Some(self.source.named(&path, file))
    }

    fn limits(&self) -> Limits {
        let limits = &self.file.limits;
        let defaults = Limits::default();
        Limits {
            connections: limits.connections.into(),
            connections_per_client: limits.connections_per_client.into(),
            session: relay_smtp::server::SessionLimits {
                message_size: limits.message_size.0.as_u64(),
                header_size: octets(&limits.header_size),
                line_length: octets(&limits.line_length),
                recipients: limits.recipients.into(),
                errors: limits.errors.0,
                command_timeout: limits.command_timeout.0,
                bare_newline: match limits.bare_newline {
                    schema::BareNewline::Refuse => BareNewline::Refuse,
                    schema::BareNewline::Normalize => BareNewline::Normalize,
                },
                ..defaults.session
            },
        }
    }
}

/// On a 32-bit machine, a larger size means no limit.
fn octets(size: &Text<ByteSize>) -> usize {
    usize::try_from(size.0.as_u64()).unwrap_or(usize::MAX)
}

fn listener(listener: schema::Listener) -> ListenerConfig {
    ListenerConfig {
        address: match listener.address.0 {
            ListenAddress::Tcp(address) => ListenerAddress::Tcp(address),
            ListenAddress::Unix(path) => ListenerAddress::Unix(path),
        },
        role: match listener.role {
            schema::Role::Mx => Role::Mx,
            schema::Role::Submission => Role::Submission,
            schema::Role::Submissions => Role::Submissions,
        },
        proxies: values(listener.proxies),
    }
}

fn log_format(format: schema::LogFormat) -> LogFormat {
    match format {
        schema::LogFormat::Text => LogFormat::Text,
        schema::LogFormat::Json => LogFormat::Json,
    }
}

fn log_level(level: schema::LogLevel) -> Level {
    match level {
        schema::LogLevel::Error => Level::Error,
        schema::LogLevel::Warn => Level::Warn,
        schema::LogLevel::Info => Level::Info,
        schema::LogLevel::Debug => Level::Debug,
        schema::LogLevel::Trace => Level::Trace,
    }
}

#[cfg(test)]
mod tests;
