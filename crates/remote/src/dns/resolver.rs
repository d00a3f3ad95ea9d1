//! Which DNS servers are used, and when the system's configuration is read again.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::time::Instant;

use super::LookupError;

/// How long one try of one query may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries after the first.
const RETRIES: usize = 1;
/// The longest time that a negative answer is cached, whatever its SOA allows: it can bounce mail.
const LONGEST_NO: Duration = Duration::from_mins(5);
/// Concurrent queries over one TCP connection.
const ACTIVE_REQUESTS: usize = 1024;
/// The system's DNS servers (resolv.conf(5)).
const SYSTEM: &str = "/etc/resolv.conf";
/// The shortest time between two checks of that file.
const LOOK: Duration = Duration::from_secs(5);

/// A resolver with its cache, or the reason why every lookup fails.
pub(super) type Resolver = Result<TokioResolver, LookupError>;

/// The resolver for the configured servers or for those of the system.
#[derive(Debug)]
pub(super) enum Servers {
    Configured(Vec<SocketAddr>, Resolver),
    System(System),
}

/// The resolver for the system's servers. They can change at any time: a machine gets an address, a
/// tunnel comes up, a container starts before its network.
#[derive(Debug)]
pub(super) struct System {
    file: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// The text of the file that the resolver was made from; `None` if it could not be read.
    text: Option<Vec<u8>>,
    looked: Instant,
    resolver: Resolver,
}

impl Servers {
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        if servers.is_empty() {
            return Self::System(System::new(Path::new(SYSTEM)));
        }
        let config = servers.iter().map(|s| name_server(*s)).collect();
        let mut options = ResolverOpts::default();
        options.use_hosts_file = ResolveHosts::Never;
        let resolver = build(ResolverConfig::from_name_servers(config), options);
        let resolver = resolver.map_err(|e| LookupError::Unavailable(e.to_string()));
        Self::Configured(servers.to_vec(), resolver)
    }

    /// Whether these are exactly the configured servers.
    pub(super) fn are(&self, servers: &[SocketAddr]) -> bool {
        match self {
            Self::Configured(own, _) => own == servers,
            Self::System(_) => false,
        }
    }

    pub(super) fn resolver(&self) -> Resolver {
        match self {
            Self::Configured(_, resolver) => resolver.clone(),
            Self::System(system) => system.current().resolver.clone(),
        }
    }

    /// Call this after a lookup without an answer. If the system's servers have changed, the next
    /// lookup uses the new ones.
    pub(super) async fn look_again(&self) {
        if let Self::System(system) = self {
            system.look_again().await;
        }
    }
}

impl System {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            current: Mutex::new(Current::new(std::fs::read(file))),
        }
    }

    async fn look_again(&self) {
        {
            let mut current = self.current();
            if current.looked.elapsed() < LOOK {
                return;
            }
            current.looked = Instant::now();
        }
        let text = tokio::fs::read(&self.file).await;
        let mut current = self.current();
        if text.as_ref().ok() != current.text.as_ref() {
            *current = Current::new(text);
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn new(text: io::Result<Vec<u8>>) -> Self {
        let resolver = match &text {
            Ok(text) => parse_resolv_conf(text)
                .and_then(|(config, options)| build(config, options))
                .map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        Self {
            resolver: resolver.map_err(|e| {
                LookupError::Unavailable(format!("the system's DNS servers are unknown: {e}"))
            }),
            text: text.ok(),
            looked: Instant::now(),
        }
    }
}

pub(super) fn build(
    config: ResolverConfig,
    mut options: ResolverOpts,
) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = TokioResolver::builder_with_config(config, provider);
    options.timeout = TRY_TIMEOUT;
    options.attempts = RETRIES;
    options.negative_max_ttl = Some(LONGEST_NO);
    options.max_active_requests = ACTIVE_REQUESTS;
    *builder.options_mut() = options;
    builder.build()
}

pub(super) fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(system: &System) -> Option<String> {
        system
            .current()
            .resolver
            .clone()
            .err()
            .map(|e| e.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn the_systems_servers_are_read_again_after_a_lookup_without_an_answer() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("resolv.conf");
        let system = System::new(&file);
        let missing = problem(&system).expect("no file");
        assert!(missing.contains("No such file"), "{missing}");
        for (text, is_good) in [
            (Some("nameserver 192.0.2.53\n"), true),
            (Some("# nothing yet\n"), false),
            (Some("search a.test\nnameserver 192.0.2.1\n"), true),
            (None, false),
        ] {
            let before = problem(&system);
            match text {
                Some(text) => std::fs::write(&file, text).expect("written"),
                None => std::fs::remove_file(&file).expect("removed"),
            }
            system.look_again().await;
            assert_eq!(problem(&system), before, "not after every lookup");
            tokio::time::advance(LOOK).await;
            system.look_again().await;
            assert_eq!(problem(&system).is_none(), is_good, "{text:?}");
        }
    }
}
