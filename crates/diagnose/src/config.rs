//! The keys of the relay's configuration that the command line needs. Other keys are ignored: the daemon
//! checks them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use relay_control::DEFAULT_SOCKET;
use relay_users as users;
use serde::de::DeserializeOwned;

use crate::error::Error;

const DEFAULT_CONFIG: &str = "/etc/relayd/relayd.toml";
const DEFAULT_STATE_DIR: &str = "/var/lib/relayd";

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
        self.named.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }

    /// Reads the file. If the default file does not exist, every key has its default.
    pub fn load(&self) -> Result<Config, Error> {
        let text = match fs::read_to_string(self.path()) {
            Ok(text) => text,
            Err(reason) if self.named.is_none() && reason.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            Err(reason) => return Err(self.error(format!("cannot be read: {reason}"))),
        };
        Config::parse(self.clone(), &text)
    }

    pub(crate) fn error(&self, reason: String) -> Error {
        Error::Config {
            file: self.path().to_owned(),
            reason,
        }
    }
}

/// The relay's configuration.
#[derive(Debug)]
pub struct Config {
    file: ConfigFile,
    table: toml::Table,
}

impl Config {
    fn parse(file: ConfigFile, text: &str) -> Result<Self, Error> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| file.error(error.message().replace('\n', " ")))?;
        let config = Self { file, table };
        for (table, key) in [("control", "socket"), ("auth", "users")] {
            config.path(Some(table), key)?;
        }
        config.path(None, "state_dir")?;
        Ok(config)
    }

    /// Reads the keys that `T` has and ignores the others.
    pub(crate) fn keys<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let read = self.table.clone().try_into();
        read.map_err(|error: toml::de::Error| {
            self.file.error(error.to_string().trim().replace('\n', " "))
        })
    }

    /// The path of the users file.
    pub fn users(&self) -> PathBuf {
        self.known(Some("auth"), "users", users::DEFAULT_FILE)
    }

    /// The state directory. It belongs to the user that the daemon runs as.
    pub fn state_dir(&self) -> PathBuf {
        self.known(None, "state_dir", DEFAULT_STATE_DIR)
    }

    /// The path of the control socket.
    pub fn socket(&self) -> PathBuf {
        self.known(Some("control"), "socket", DEFAULT_SOCKET)
    }

    /// A path that [`Config::parse`] has checked.
    fn known(&self, table: Option<&str>, key: &str, default: &str) -> PathBuf {
        let path = self.path(table, key).ok().flatten();
        path.unwrap_or_else(|| default.into())
    }

    fn path(&self, table: Option<&str>, key: &str) -> Result<Option<PathBuf>, Error> {
        let value = match table {
            None => self.table.get(key),
            Some(table) => self.table.get(table).and_then(|table| table.get(key)),
        };
        match value {
            None => Ok(None),
            Some(toml::Value::String(path)) => Ok(Some(path.into())),
            Some(_) => Err(self.file.error(match table {
                None => format!("{key}: not a path"),
                Some(table) => format!("{table}.{key}: not a path"),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse(ConfigFile::new(None), text)
    }

    #[test]
    fn paths_are_those_of_the_configuration() {
        for (text, socket, users, state_dir) in [
            ("", DEFAULT_SOCKET, users::DEFAULT_FILE, DEFAULT_STATE_DIR),
            (
                "unknown = 1\n[control]\n[auth]\nlockout = 1",
                DEFAULT_SOCKET,
                users::DEFAULT_FILE,
                DEFAULT_STATE_DIR,
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
    fn a_value_that_is_not_a_path_is_named_by_its_key() {
        for (text, expected) in [
            ("[control]\nsocket = 1", "control.socket: not a path"),
            ("[auth]\nusers = []", "auth.users: not a path"),
            ("state_dir = true", "state_dir: not a path"),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.to_string(), format!("{DEFAULT_CONFIG}: {expected}"));
        }
        assert!(parse("[control").is_err_and(|error| !error.to_string().contains('\n')));
    }
}
