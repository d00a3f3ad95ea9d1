//! Reads the file leniently: a key with a problem gets its default.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::deserializer::Tree;
use crate::error::ConfigError;
use crate::key_path::{KeyStep, Place};
use crate::schema::File;
use crate::source::Source;
use crate::strict;

/// A file as a command reads it: without the values that cannot be used, the unknown keys and the incomplete
/// tables. The daemon reports them when it reads the file.
#[derive(Debug, Default)]
pub struct Lenient {
    /// The keys and values. A key that was left out has its default.
    pub file: File,
    /// The keys whose values come from the file, each written as in an error message.
    keys: BTreeSet<String>,
    problems: Vec<(Vec<KeyStep>, ConfigError)>,
    /// The path and the text of the file, for the lines of errors. Without a file they are empty.
    path: PathBuf,
    text: String,
}

/// Why a command cannot read a configuration file at all.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file does not exist, or this user cannot read it.
    #[error("{}: cannot be read: {reason}", file.display())]
    Unreadable {
        /// The path of the file.
        file: PathBuf,
        /// Why the system did not read it.
        reason: io::Error,
    },
    /// The file is not UTF-8 text, or it is not TOML.
    #[error(transparent)]
    NotToml(#[from] ConfigError),
}

impl FileError {
    /// Whether the file does not exist.
    pub fn is_missing(&self) -> bool {
        self.kind() == Some(io::ErrorKind::NotFound)
    }

    /// Whether this user may not read the file.
    pub fn is_denied(&self) -> bool {
        self.kind() == Some(io::ErrorKind::PermissionDenied)
    }

    fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Unreadable { reason, .. } => Some(reason.kind()),
            Self::NotToml(_) => None,
        }
    }
}

impl Lenient {
    /// Reads a file. If the default file is missing, a command can use [`Lenient::default`] instead: every
    /// key has its default then.
    pub fn read(file: &Path) -> Result<Self, FileError> {
        let bytes = fs::read(file).map_err(|reason| FileError::Unreadable {
            file: file.to_owned(),
            reason,
        })?;
        Ok(Self::parse(file, &strict::text_of(file, bytes)?)?)
    }

    /// Reads the text of a file. `file` is the name of the file in errors. The only error is a text that is
    /// not TOML.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source::parse(file, text)?;
        let mut skipped: Vec<Vec<KeyStep>> = Vec::new();
        let mut read = Self {
            path: file.to_owned(),
            text: text.to_owned(),
            ..Self::default()
        };
        loop {
            let tree = Tree {
                root: source.tree(),
                skipped: &skipped,
            };
            let error = match tree.read() {
                Ok(file) => {
                    read.file = file;
                    read.keys = tree.paths().map(|path| Place(&path).to_string()).collect();
                    return Ok(read);
                }
                Err(error) => error,
            };
            let reason = source.error_of(&error);
            let path = error.path.unwrap_or_default();
            read.problems.push((path.clone(), reason));
            // Each round leaves out one more key. That ends, because all tables except those in lists may be empty.
            if path.is_empty() || skipped.contains(&path) {
                return Ok(read);
            }
            skipped.push(path);
        }
    }

    /// Returns the lines of the keys, for an error about a value that only the command can judge.
    pub fn source(&self) -> Result<Source<'_>, ConfigError> {
        Source::parse(&self.path, &self.text)
    }

    /// Whether the file has this key with a value that can be used. Otherwise the value is the default.
    /// The key is written as in an error message, such as `limits.message_size`.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Returns the first problem with one of these keys, or with a part of one. Each key is written as in
    /// an error message, such as `control.socket`. The name of a table means all of its keys.
    pub fn require(&self, keys: &[&str]) -> Result<(), ConfigError> {
        let problem = self.problems.iter().find(|(path, _)| {
            let place = Place(path).to_string();
            keys.iter()
                .any(|key| covers(key, &place) || covers(&place, key))
        });
        match problem {
            Some((_, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// Whether `inner` is `outer` or a key in it.
fn covers(outer: &str, inner: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::ListenAddress;

    fn parse(text: &str) -> Lenient {
        Lenient::parse(Path::new("relayd.toml"), text).expect("TOML")
    }

    #[test]
    fn a_key_with_a_problem_has_its_default_and_the_others_are_read() {
        let read = parse(
            "unknown = 1\nhostname = \"mx.test\"\n[control]\nsocket = 1\n[queue]\nlifetime = \"1d\"\n\
             retry_unit = \"soon\"\n[[listener]]\nrole = \"mx\"\n[[listener]]\naddress = \"unix:/s\"\n",
        );
        let default = File::default();
        assert_eq!(read.file.hostname.expect("a name").0.0, "mx.test");
        assert_eq!(read.file.control, default.control);
        assert_eq!(read.file.queue.lifetime.0.as_secs(), 86_400);
        assert_eq!(read.file.queue.retry_unit, default.queue.retry_unit);
        let addresses: Vec<_> = read.file.listener.iter().map(|l| &l.address.0).collect();
        assert_eq!(addresses, [&ListenAddress::Unix("/s".into())]);
    }

    #[test]
    fn require_returns_the_first_problem_with_one_of_its_keys() {
        let read = parse("[control]\nsocket = 1\n[queue]\nretry_unit = \"soon\"\n");
        let expected = "relayd.toml:2: control.socket: invalid type: integer \"1\", \
                        expected a path such as \"/var/lib/relayd\"";
        let found = read.require(&["state_dir", "control.socket"]);
        assert_eq!(found.expect_err("a number").to_string(), expected);
        assert!(read.require(&["control"]).is_err());
        assert!(read.require(&["state_dir", "auth"]).is_ok());
        let whole = parse("control = 1");
        assert!(whole.require(&["control.socket"]).is_err());
    }

    #[test]
    fn text_that_is_not_toml_is_an_error() {
        let error = Lenient::parse(Path::new("relayd.toml"), "[control").expect_err("no TOML");
        assert!(!error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn a_key_is_in_the_file_if_its_value_can_be_used() {
        let read = parse(
            "unknown = 1\nstate_dir = \"/s\"\n[limits]\nmessage_size = \"1MiB\"\n\
             line_length = \"long\"\n[[listener]]\naddress = \"unix:/s\"\n[[route]]\nport = 0\n",
        );
        for key in [
            "state_dir",
            "limits",
            "limits.message_size",
            "listener.address",
        ] {
            assert!(read.has(key), "{key}");
        }
        for key in [
            "unknown",
            "hostname",
            "limits.line_length",
            "limits.recipients",
            "route.port",
        ] {
            assert!(!read.has(key), "{key}");
        }
        assert!(!Lenient::default().has("state_dir"));
    }

    #[test]
    fn a_missing_file_and_a_file_that_is_not_toml_are_different_errors() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("relayd.toml");
        let missing = Lenient::read(&path).expect_err("no file");
        assert!(missing.is_missing() && !missing.is_denied(), "{missing}");
        let expected = format!("{}: cannot be read: ", path.display());
        assert!(missing.to_string().starts_with(&expected), "{missing}");
        for text in [&b"state_dir = "[..], b"\xff"] {
            fs::write(&path, text).expect("a file");
            let error = Lenient::read(&path).expect_err("no TOML");
            assert!(matches!(error, FileError::NotToml(_)), "{error:?}");
            assert!(!error.is_missing());
            let expected = format!("{}:1: ", path.display());
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        fs::write(&path, "state_dir = \"/s\"").expect("a file");
        let read = Lenient::read(&path).expect("a file");
        assert_eq!(read.file.state_dir.0, Path::new("/s"));
    }
}
