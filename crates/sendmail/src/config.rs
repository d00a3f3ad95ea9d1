//! Reads the few keys of the relay's configuration that this command needs. The daemon checks the
//! other keys.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use relay_maildrop::DEFAULT_SUBMISSION;
use relay_maildrop::FOLDER;
use relay_smtp::address::is_domain;

use crate::failure::Failure;

const DEFAULT_FILE: &str = "/etc/relayd/relayd.toml";
const DEFAULT_STATE_DIR: &str = "/var/lib/relayd";
/// The default of `queue.min_free`.
const DEFAULT_MIN_FREE: ByteSize = ByteSize::mib(64);

/// The location and the settings of the relay.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The Unix socket of the first listener that has one.
    pub(crate) socket: PathBuf,
    pub(crate) maildrop: PathBuf,
    /// How many octets of the disk are kept free.
    pub(crate) min_free: u64,
    /// The largest message in octets, if configured.
    pub(crate) message_size: Option<u64>,
    /// The domain for addresses without one, if configured.
    pub(crate) domain: Option<String>,
}

impl Config {
    /// Reads the named file, or the default one. If the default file cannot be used, default values
    /// apply: the relay continues to run while somebody edits its file, and mail must still be
    /// accepted.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = file else {
            let (config, warning) = Self::usual(Path::new(DEFAULT_FILE));
            if let Some(warning) = warning {
                // The mail is sent even if the warning cannot be written.
                let _ = writeln!(io::stderr(), "sendmail: warning: {warning}");
            }
            return Ok(config);
        };
        Self::read(file).map_err(|reason| Failure::Config {
            file: file.to_owned(),
            reason: reason.to_string(),
        })
    }

    /// Reads the default file. If it does not exist, or this user may not read it, there is no
    /// warning. Any other problem causes one.
    fn usual(file: &Path) -> (Self, Option<String>) {
        match Self::read(file) {
            Ok(config) => (config, None),
            Err(reason) => {
                let warning = (!reason.is_usual())
                    .then(|| format!("{}: {reason}; so the usual places are used", file.display()));
                (Self::of(&toml::Table::new()), warning)
            }
        }
    }

    fn read(file: &Path) -> Result<Self, Unusable> {
        let text = fs::read_to_string(file).map_err(Unusable::Unread)?;
        Self::parse(&text).map_err(Unusable::Wrong)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| error.message().replace('\n', " "))?;
        Ok(Self::of(&table))
    }

    /// Reads the keys that are needed. Invalid values are ignored here, because the daemon reports
    /// them when it starts.
    fn of(table: &toml::Table) -> Self {
        let text = |table: &toml::Table, key: &str| Some(table.get(key)?.as_str()?.to_owned());
        let of = |name: &str, key: &str| text(table.get(name)?.as_table()?, key);
        let listeners = table.get("listener").and_then(toml::Value::as_array);
        let socket = listeners.into_iter().flatten().find_map(|listener| {
            let address = listener.get("address")?.as_str()?;
            address.strip_prefix("unix:").map(PathBuf::from)
        });
        let state_dir = text(table, "state_dir").unwrap_or_else(|| DEFAULT_STATE_DIR.to_owned());
        let size = |name, key| of(name, key).and_then(|size| size.parse::<ByteSize>().ok());
        let min_free = size("queue", "min_free");
        let domain = of("rewrite", "domain").or_else(|| text(table, "hostname"));
        Self {
            socket: socket.unwrap_or_else(|| DEFAULT_SUBMISSION.into()),
            maildrop: Path::new(&state_dir).join(FOLDER),
            min_free: min_free.unwrap_or(DEFAULT_MIN_FREE).as_u64(),
            message_size: size("limits", "message_size").map(|size| size.as_u64()),
            domain: domain.filter(|domain| is_domain(domain)),
        }
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot be read: {0}")]
    Unread(io::Error),
    #[error("{0}")]
    Wrong(String),
}

impl Unusable {
    fn is_usual(&self) -> bool {
        use io::ErrorKind::{NotFound, PermissionDenied};
        matches!(self, Self::Unread(reason) if matches!(reason.kind(), NotFound | PermissionDenied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_those_of_the_configuration_or_the_usual_ones() {
        let usual = Config::parse("").expect("an empty file");
        assert_eq!(usual.socket, Path::new("/run/relayd/submit.sock"));
        assert_eq!(usual.maildrop, Path::new("/var/lib/relayd/maildrop"));
        assert_eq!((usual.min_free, usual.domain), (64 << 20, None));
        let text = r#"
            hostname = "mail.example.org"
            state_dir = "/s"
            [[listener]]
            address = "[::]:25"
            [[listener]]
            address = "unix:/run/first.sock"
            [[listener]]
            address = "unix:/run/second.sock"
            [queue]
            min_free = "1KiB"
        "#;
        let told = Config::parse(text).expect("a configuration");
        assert_eq!(told.socket, Path::new("/run/first.sock"));
        assert_eq!(told.maildrop, Path::new("/s/maildrop"));
        assert_eq!(told.min_free, 1024);
        assert_eq!(told.domain.as_deref(), Some("mail.example.org"));
        let rewritten = format!("{text}\n[rewrite]\ndomain = \"example.org\"\n");
        let told = Config::parse(&rewritten).expect("a configuration");
        assert_eq!(told.domain.as_deref(), Some("example.org"));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("relayd.toml");
        assert!(Config::load(Some(&missing)).is_err());
        fs::write(&missing, "hostname = ").expect("a file");
        let refused = Config::load(Some(&missing)).expect_err("no TOML");
        assert!(!refused.to_string().contains('\n'), "{refused}");
    }

    #[test]
    fn a_slip_in_the_usual_file_loses_no_mail() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("relayd.toml");
        let places = Config::parse("").expect("an empty file");
        assert_eq!(
            Config::usual(&file),
            (Config::parse("").expect("an empty file"), None)
        );
        fs::write(&file, "hostname = ").expect("a file");
        let (config, warning) = Config::usual(&file);
        assert_eq!(config, places);
        let warning = warning.expect("somebody should know");
        assert!(warning.contains("relayd.toml"), "{warning}");
        fs::write(&file, "hostname = \"a.test\"").expect("a file");
        let (config, warning) = Config::usual(&file);
        assert_eq!((config.domain.as_deref(), warning), (Some("a.test"), None));
    }
}
