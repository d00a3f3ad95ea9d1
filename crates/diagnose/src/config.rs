//! The relay's configuration as the commands read it: a key that a command does not need may be wrong.

use std::path::{Path, PathBuf};

use relay_config::schema::File;
use relay_config::{ConfigError, DEFAULT_FILE, Lenient};

use crate::error::Error;

/// The relay's configuration file.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    named: Option<PathBuf>,
}

impl ConfigFile {
    /// Uses the file that the operator has named, or the default one.
    pub fn new(named: Option<PathBuf>) -> Self {
        Self { named }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.named.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
    }

    /// Reads the file. If the default file does not exist, every key has its default.
    pub fn load(&self) -> Result<LoadedConfig, Error> {
        let lenient = match Lenient::read(self.path()) {
            Err(reason) if self.named.is_none() && reason.is_missing() => Lenient::default(),
            read => read?,
        };
        LoadedConfig::new(self.path().to_owned(), lenient)
    }
}

/// The content of the relay's configuration file.
#[derive(Debug)]
pub struct LoadedConfig {
    path: PathBuf,
    lenient: Lenient,
}

impl LoadedConfig {
    fn new(path: PathBuf, lenient: Lenient) -> Result<Self, Error> {
        let config = Self { path, lenient };
        config.require(&["control.socket", "auth.users", "state_dir"])?;
        Ok(config)
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys and values. A key that is missing or wrong has its default.
    pub(crate) fn file(&self) -> &File {
        &self.lenient.file
    }

    /// Returns the first problem with one of these keys.
    pub(crate) fn require(&self, keys: &[&str]) -> Result<(), ConfigError> {
        self.lenient.require(keys)
    }

    /// The path of the users file.
    pub fn users(&self) -> &Path {
        &self.file().auth.users
    }

    /// The state directory. It belongs to the user that the daemon runs as.
    pub fn state_dir(&self) -> &Path {
        &self.file().state_dir.0
    }

    /// The path of the control socket.
    pub fn socket(&self) -> &Path {
        &self.file().control.socket.0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use relay_config::schema::{DEFAULT_CONTROL_SOCKET, DEFAULT_USERS_FILE};

    /// The configuration in this text, from the file `relayd.toml`.
    pub(crate) fn parse(text: &str) -> Result<LoadedConfig, Error> {
        let path = Path::new("relayd.toml");
        LoadedConfig::new(path.to_owned(), Lenient::parse(path, text)?)
    }

    #[test]
    fn paths_are_those_of_the_configuration() {
        let state_dir = "/var/lib/relayd";
        for (text, socket, users, state_dir) in [
            ("", DEFAULT_CONTROL_SOCKET, DEFAULT_USERS_FILE, state_dir),
            (
                "unknown = 1\n[control]\n[auth]\nlockout = 1",
                DEFAULT_CONTROL_SOCKET,
                DEFAULT_USERS_FILE,
                state_dir,
            ),
            (
                "state_dir = \"/s\"\n[control]\nsocket = \"/c\"\n[auth]\nusers = \"/u\"",
                "/c",
                "/u",
                "/s",
            ),
        ] {
            let config = parse(text).expect(text);
            assert_eq!(config.socket(), Path::new(socket), "{text}");
            assert_eq!(config.users(), Path::new(users), "{text}");
            assert_eq!(config.state_dir(), Path::new(state_dir), "{text}");
        }
    }

    #[test]
    fn a_value_that_is_not_a_path_is_an_error_with_its_line_and_key() {
        for (text, expected) in [
            ("[control]\nsocket = 1", "relayd.toml:2: control.socket: "),
            ("[auth]\nusers = []", "relayd.toml:2: auth.users: "),
            ("state_dir = true", "relayd.toml:1: state_dir: "),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(parse("[control").is_err_and(|error| !error.to_string().contains('\n')));
    }

    #[test]
    fn only_the_default_file_may_be_missing() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("relayd.toml");
        let error = ConfigFile::new(Some(missing.clone())).load();
        let expected = format!("{}: cannot be read: ", missing.display());
        assert!(error.is_err_and(|error| error.to_string().starts_with(&expected)));
    }
}
