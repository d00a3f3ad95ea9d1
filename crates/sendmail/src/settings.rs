//! The keys of the relay's configuration that this command needs. The daemon reports problems with the
//! other keys when it starts.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use relay_config::schema::Listener;
use relay_config::{DEFAULT_FILE, FileError, Lenient, ListenAddress};
use relay_maildrop::{DEFAULT_SUBMISSION, FOLDER};

use crate::error::SendmailError;

/// Where the relay accepts mail, and under which conditions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RelaySettings {
    /// The Unix socket of the first listener that has one.
    pub(crate) socket: PathBuf,
    /// The directory for messages that the relay does not accept now.
    pub(crate) maildrop: PathBuf,
    /// How many octets of the disk are kept free.
    pub(crate) min_free: u64,
    /// The largest message in octets, if the file has a limit.
    pub(crate) message_size: Option<u64>,
    /// The domain for addresses without one, if the file has one.
    pub(crate) domain: Option<String>,
}

impl RelaySettings {
    /// Reads the file that the command line names, or the default file. If the default file cannot be
    /// used, the defaults apply: the relay keeps running while an administrator edits its file, and
    /// programs must still be able to send mail.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, SendmailError> {
        if let Some(file) = file {
            return Ok(Self::of(Lenient::read(file)?));
        }
        let (settings, warning) = Self::of_default_file(Path::new(DEFAULT_FILE));
        if let Some(warning) = warning {
            // The mail is sent even if the warning cannot be written.
            let _ = writeln!(
                io::stderr(),
                "sendmail: warning: {warning}; using the defaults"
            );
        }
        Ok(settings)
    }

    /// Reads the default file. A file that does not exist, or that this user may not read, is no reason
    /// for a warning, unlike any other problem.
    fn of_default_file(file: &Path) -> (Self, Option<FileError>) {
        match Lenient::read(file) {
            Ok(read) => (Self::of(read), None),
            Err(error) => {
                let warning = Some(error).filter(|error| !error.is_missing() && !error.is_denied());
                (Self::of(Lenient::default()), warning)
            }
        }
    }

    fn of(read: Lenient) -> Self {
        let has_size = read.has("limits.message_size");
        let file = read.file;
        let domain = file.rewrite.domain.map(|domain| domain.0.to_string());
        let socket = file.listener.iter().find_map(unix_socket);
        Self {
            socket: socket.unwrap_or(Path::new(DEFAULT_SUBMISSION)).to_owned(),
            maildrop: file.state_dir.0.join(FOLDER),
            min_free: file.queue.min_free.0.as_u64(),
            message_size: has_size.then(|| file.limits.message_size.0.as_u64()),
            domain: domain.or_else(|| file.hostname.map(|name| name.0.0)),
        }
    }
}

fn unix_socket(listener: &Listener) -> Option<&Path> {
    match &listener.address.0 {
        ListenAddress::Unix(path) => Some(path),
        ListenAddress::Tcp(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn settings(text: &str) -> RelaySettings {
        let read = Lenient::parse(Path::new("relayd.toml"), text);
        RelaySettings::of(read.expect("TOML"))
    }

    const FILE: &str = r#"
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
        [limits]
        message_size = "2KiB"
    "#;

    #[test]
    fn an_empty_file_has_the_default_paths() {
        let defaults = settings("");
        assert_eq!(defaults.socket, Path::new("/run/relayd/submit.sock"));
        assert_eq!(defaults.maildrop, Path::new("/var/lib/relayd/maildrop"));
        assert_eq!(defaults.min_free, 64 << 20);
        assert_eq!((defaults.domain, defaults.message_size), (None, None));
    }

    #[test]
    fn the_settings_come_from_the_file() {
        let read = settings(FILE);
        assert_eq!(read.socket, Path::new("/run/first.sock"));
        assert_eq!(read.maildrop, Path::new("/s/maildrop"));
        assert_eq!((read.min_free, read.message_size), (1024, Some(2048)));
        assert_eq!(read.domain.as_deref(), Some("mail.example.org"));
        let rewritten = settings(&format!("{FILE}\n[rewrite]\ndomain = \"example.org\"\n"));
        assert_eq!(rewritten.domain.as_deref(), Some("example.org"));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_ignored() {
        let wrong = "unknown = 1\nstate_dir = 1\nhostname = \"no host\"\n[limits]\nmessage_size = \"huge\"\n";
        assert_eq!(settings(wrong), settings(""));
    }

    #[test]
    fn a_file_named_on_the_command_line_must_be_readable_and_valid_toml() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("relayd.toml");
        let missing = RelaySettings::load(Some(&file)).expect_err("no file");
        let expected = format!("{}: cannot be read: ", file.display());
        assert!(missing.to_string().starts_with(&expected), "{missing}");
        fs::write(&file, "hostname = ").expect("a file");
        let refused = RelaySettings::load(Some(&file)).expect_err("no TOML");
        assert!(!refused.to_string().contains('\n'), "{refused}");
    }

    #[test]
    fn an_unusable_default_file_means_the_defaults() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("relayd.toml");
        let (read, warning) = RelaySettings::of_default_file(&file);
        assert_eq!(read, settings(""));
        assert!(warning.is_none(), "{warning:?}");
        for text in [&b"hostname = "[..], b"\xff"] {
            fs::write(&file, text).expect("a file");
            let (read, warning) = RelaySettings::of_default_file(&file);
            assert_eq!(read, settings(""));
            let warning = warning.expect("a warning").to_string();
            assert!(warning.contains("relayd.toml"), "{warning}");
        }
        fs::write(&file, "hostname = \"a.test\"").expect("a file");
        let (read, warning) = RelaySettings::of_default_file(&file);
        assert_eq!(read.domain.as_deref(), Some("a.test"));
        assert!(warning.is_none(), "{warning:?}");
    }
}
