//! Passwords and tokens of routes. They are read when a connection needs them, and cached where
//! that is allowed.

mod command;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use relay_smtp::sasl::{Secret, SecretError};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::credentials::{RouteCredentials, SecretSource};

/// The most octets that are read from a file or a program.
const MAX_OUTPUT: u64 = 64 * 1024;
/// How long a program may run.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a secret is not available. No text contains output of a file or program: it may be the
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretUnavailable {
    /// The file cannot be read.
    #[error("cannot read password_file {file}: {kind}")]
    File {
        file: String,
        kind: std::io::ErrorKind,
    },
    /// The program cannot be started.
    #[error("cannot run {program}: {kind}")]
    Start {
        program: String,
        kind: std::io::ErrorKind,
    },
    /// The program reported a failure.
    #[error("{program} ended with {status}")]
    Failed { program: String, status: String },
    /// The program ran too long and was killed.
    #[error("{program} did not end within {}", humantime(*.after))]
    TooSlow { program: String, after: Duration },
    /// The system provided no random octets for the AUTH exchange.
    #[error("no random octets for an exchange")]
    NoRandomness,
    /// The output is not a usable secret.
    #[error("{origin} gave no usable secret: {reason}")]
    Unusable {
        origin: String,
        reason: UnusableSecret,
    },
}

/// Why a text cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusableSecret {
    #[error("its first line is empty")]
    Empty,
    #[error("it is not UTF-8")]
    Encoding,
    #[error("it is over {MAX_OUTPUT} octets")]
    Endless,
    #[error(transparent)]
    Secret(SecretError),
}

/// A secret, and whether it came from the cache.
#[derive(Debug, Clone)]
pub(crate) struct FetchedSecret {
    pub(crate) secret: Secret,
    /// Whether the secret came from the cache. If it is rejected, a new one may work.
    pub(crate) was_cached: bool,
}

/// The cached secrets by user and source.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    cells: Mutex<HashMap<Arc<RouteCredentials>, Arc<SecretCell>>>,
}

/// One user's secret. The lock is held while it is read, so that a program never runs twice at a
/// time.
type SecretCell = tokio::sync::Mutex<Option<CachedSecret>>;

#[derive(Debug)]
struct CachedSecret {
    result: Result<Secret, SecretUnavailable>,
    fetched: Instant,
    lifetime: Option<Duration>,
}

impl Secrets {
    /// Returns the cached secret of these credentials, or reads a new one.
    pub(crate) async fn get(
        &self,
        of: &Arc<RouteCredentials>,
    ) -> Result<FetchedSecret, SecretUnavailable> {
        let asked = Instant::now();
        let cell = self.cell(of);
        let mut cached = cell.lock().await;
        if let Some(cached) = cached.as_ref() {
            // A caller that waited for another one's read uses its result, even a failure.
            if cached.fetched >= asked {
                return cached.fetched(false);
            }
            if cached.is_good() {
                return cached.fetched(true);
            }
        }
        let result = fetch(of.source()).await;
        let new = cached.insert(CachedSecret {
            result,
            fetched: Instant::now(),
            lifetime: lifetime(of.source()),
        });
        new.fetched(false)
    }

    /// Removes a rejected secret from the cache, unless it was already replaced.
    pub(crate) async fn refused(&self, of: &Arc<RouteCredentials>, secret: &Secret) {
        let cell = self.cell(of);
        let mut cached = cell.lock().await;
        if cached
            .as_ref()
            .is_some_and(|k| k.result.as_ref() == Ok(secret))
        {
            *cached = None;
        }
    }

    /// Removes the secrets of routes that no longer exist.
    pub(crate) fn retain(&self, is_wanted: impl Fn(&RouteCredentials) -> bool) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|credentials, _| is_wanted(credentials));
    }

    fn cell(&self, of: &Arc<RouteCredentials>) -> Arc<SecretCell> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(Arc::clone(of)).or_default())
    }
}

impl CachedSecret {
    fn fetched(&self, was_cached: bool) -> Result<FetchedSecret, SecretUnavailable> {
        let secret = self.result.clone()?;
        Ok(FetchedSecret { secret, was_cached })
    }

    fn is_good(&self) -> bool {
        let is_fresh = self.lifetime.is_none_or(|l| self.fetched.elapsed() < l);
        self.result.is_ok() && is_fresh
    }
}

/// How long a secret from this source is cached. `None` means without a limit.
fn lifetime(source: &SecretSource) -> Option<Duration> {
    match source {
        // Reading a file is cheap, and a new password must be used at once.
        SecretSource::PasswordFile(_) => Some(Duration::ZERO),
        SecretSource::PasswordCommand(_) => None,
        SecretSource::TokenCommand { lifetime, .. } => *lifetime,
    }
}

async fn fetch(source: &SecretSource) -> Result<Secret, SecretUnavailable> {
    let (output, origin) = match source {
        SecretSource::PasswordFile(file) => (read_file(file).await?, file.display().to_string()),
        SecretSource::PasswordCommand(argv) | SecretSource::TokenCommand { argv, .. } => {
            let program = argv.first().cloned().unwrap_or_default();
            (command::run(argv, COMMAND_TIMEOUT).await?, program)
        }
    };
    first_line(&output).map_err(|reason| SecretUnavailable::Unusable { origin, reason })
}

async fn read_file(file: &Path) -> Result<Zeroizing<Vec<u8>>, SecretUnavailable> {
    let mut text = Zeroizing::new(Vec::new());
    let read = async {
        let opened = tokio::fs::File::open(file).await?;
        opened.take(MAX_OUTPUT + 1).read_to_end(&mut text).await
    };
    match read.await {
        Ok(_) => Ok(text),
        Err(e) => Err(SecretUnavailable::File {
            file: file.display().to_string(),
            kind: e.kind(),
        }),
    }
}

fn first_line(output: &[u8]) -> Result<Secret, UnusableSecret> {
    if output.len() as u64 > MAX_OUTPUT {
        return Err(UnusableSecret::Endless);
    }
    let end = memchr::memchr(b'\n', output).unwrap_or(output.len());
    let line = &output[..end];
    let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line));
    match line {
        Ok("") => Err(UnusableSecret::Empty),
        Ok(line) => Secret::new(line).map_err(UnusableSecret::Secret),
        Err(_) => Err(UnusableSecret::Encoding),
    }
}

fn humantime(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn credentials(source: SecretSource) -> Arc<RouteCredentials> {
        Arc::new(RouteCredentials::new("user", source).expect("credentials"))
    }

    /// A command that prints how often it has run.
    fn counting(directory: &Path) -> Vec<String> {
        let script = r#"echo x >> "$0"; wc -l < "$0" | tr -d ' '"#;
        let file: PathBuf = directory.join("runs");
        let file = file.to_str().expect("a path in UTF-8");
        ["sh", "-c", script, file].map(String::from).into()
    }

    fn text(fetched: &FetchedSecret) -> (&str, bool) {
        (fetched.secret.expose(), fetched.was_cached)
    }

    #[test]
    fn the_first_line_is_the_secret() {
        for (output, secret) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("hunter2\r\n", "hunter2"),
            (" two words \nuser: me\n", " two words "),
        ] {
            let line = first_line(output.as_bytes()).expect(output);
            assert_eq!(line.expose(), secret);
        }
        for (output, reason) in [
            (&b""[..], UnusableSecret::Empty),
            (b"\nhunter2", UnusableSecret::Empty),
            (b"\xff\n", UnusableSecret::Encoding),
            (b"a\x01b", UnusableSecret::Secret(SecretError::Control)),
        ] {
            assert_eq!(first_line(output), Err(reason));
        }
    }

    #[tokio::test]
    async fn a_password_file_is_read_for_every_connection() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("password");
        let of = credentials(SecretSource::PasswordFile(file.clone()));
        let secrets = Secrets::default();
        let missing = secrets.get(&of).await.expect_err("no file").to_string();
        assert_eq!(
            missing,
            format!(
                "cannot read password_file {}: entity not found",
                file.display()
            )
        );
        for password in ["one", "two"] {
            std::fs::write(&file, format!("{password}\n")).expect("written");
            let fetched = secrets.get(&of).await.expect("a password");
            assert_eq!(text(&fetched), (password, false));
        }
    }

    #[tokio::test]
    async fn a_programs_output_is_cached_until_it_is_rejected() {
        let directory = tempfile::tempdir().expect("a directory");
        let of = credentials(SecretSource::PasswordCommand(counting(directory.path())));
        let secrets = Secrets::default();
        let first = secrets.get(&of).await.expect("a password");
        assert_eq!(text(&first), ("1", false));
        let again = secrets.get(&of).await.expect("a password");
        assert_eq!(text(&again), ("1", true));
        secrets.refused(&of, &first.secret).await;
        assert_eq!(
            text(&secrets.get(&of).await.expect("a password")),
            ("2", false)
        );
        secrets.refused(&of, &first.secret).await;
        let cached = secrets.get(&of).await.expect("a password");
        assert_eq!(
            text(&cached),
            ("2", true),
            "a rejected old secret does not remove the new one"
        );
        secrets.retain(|_| false);
        assert_eq!(
            text(&secrets.get(&of).await.expect("a password")),
            ("3", false)
        );
    }

    #[tokio::test]
    async fn a_token_is_cached_no_longer_than_its_lifetime() {
        let directory = tempfile::tempdir().expect("a directory");
        let (argv, lifetime) = (counting(directory.path()), Some(Duration::from_mins(50)));
        let of = credentials(SecretSource::TokenCommand { argv, lifetime });
        let secrets = Secrets::default();
        assert_eq!(
            text(&secrets.get(&of).await.expect("a token")),
            ("1", false)
        );
        tokio::time::pause();
        tokio::time::advance(Duration::from_mins(49)).await;
        assert_eq!(text(&secrets.get(&of).await.expect("a token")), ("1", true));
        tokio::time::advance(Duration::from_mins(2)).await;
        tokio::time::resume();
        assert_eq!(
            text(&secrets.get(&of).await.expect("a token")),
            ("2", false)
        );
    }

    #[tokio::test]
    async fn callers_that_wait_for_a_run_share_its_result_even_a_failure() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut argv = counting(directory.path());
        argv[2].push_str("; sleep 0.2; exit 1");
        let of = credentials(SecretSource::PasswordCommand(argv.clone()));
        let secrets = Secrets::default();
        let (a, b, c) = tokio::join!(secrets.get(&of), secrets.get(&of), secrets.get(&of));
        assert!(a.is_err() && b.is_err() && c.is_err());
        let runs = std::fs::read_to_string(&argv[3]).expect("the count");
        assert_eq!(runs.lines().count(), 1);
        assert!(secrets.get(&of).await.is_err());
        let runs = std::fs::read_to_string(&argv[3]).expect("the count");
        assert_eq!(runs.lines().count(), 2, "a failure is not cached");
    }
}
