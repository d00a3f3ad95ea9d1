//! The few keys of the relay's configuration that concern this command; everything else in the file
//! is the daemon's affair.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use relay_control::DEFAULT_SOCKET;
use relay_users as users;
use serde::de::DeserializeOwned;

use crate::Place;
use crate::failure::Failure;

const DEFAULT_CONFIG: &str = "/etc/relayd/relayd.toml";
const DEFAULT_STATE_DIR: &str = "/var/lib/relayd";

/// The relay's configuration, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Config {
    table: toml::Table,
}

impl Config {
    /// Reads the file that was named, or the usual one; that the usual one is missing is no error.
    pub(crate) fn load(place: &Place) -> Result<Self, Failure> {
        let file = file(place);
        match fs::read_to_string(file) {
            Ok(text) => Self::parse(&text).map_err(|reason| failure(file, reason)),
            Err(reason) if place.config.is_none() && reason.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(reason) => Err(failure(file, format!("cannot be read: {reason}"))),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| error.message().replace('\n', " "))?;
        let config = Self { table };
        for (table, key) in [("control", "socket"), ("auth", "users")] {
            config.path(Some(table), key)?;
        }
        config.path(None, "state_dir")?;
        Ok(config)
    }

    /// Some of the tables, as their keys are in the file; what `T` does not know is passed over.
    pub(crate) fn keys<T: DeserializeOwned>(&self) -> Result<T, String> {
        let read = self.table.clone().try_into();
        read.map_err(|error: toml::de::Error| error.to_string().trim().replace('\n', " "))
    }

    /// Where the users are.
    pub(crate) fn users(&self) -> PathBuf {
        self.known(Some("auth"), "users", users::DEFAULT_FILE)
    }

    /// Where the daemon keeps what must not be lost, in a folder of its own user's.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.known(None, "state_dir", DEFAULT_STATE_DIR)
    }

    fn socket(&self) -> PathBuf {
        self.known(Some("control"), "socket", DEFAULT_SOCKET)
    }

    /// A path that [`Config::parse`] has looked at.
    fn known(&self, table: Option<&str>, key: &str, default: &str) -> PathBuf {
        let path = self.path(table, key).ok().flatten();
        path.unwrap_or_else(|| default.into())
    }

    fn path(&self, table: Option<&str>, key: &str) -> Result<Option<PathBuf>, String> {
        let value = match table {
            None => self.table.get(key),
            Some(table) => self.table.get(table).and_then(|table| table.get(key)),
        };
        match value {
            None => Ok(None),
            Some(toml::Value::String(path)) => Ok(Some(path.into())),
            Some(_) => Err(match table {
                None => format!("{key}: not a path"),
                Some(table) => format!("{table}.{key}: not a path"),
            }),
        }
    }
}

/// The path of the control socket: as the operator says, or as the relay's configuration does.
pub(crate) fn socket(place: &Place) -> Result<PathBuf, Failure> {
    match &place.socket {
        Some(socket) => Ok(socket.clone()),
        None => Ok(Config::load(place)?.socket()),
    }
}

/// The configuration file's name.
pub(crate) fn file(place: &Place) -> &Path {
    place.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
}

pub(crate) fn failure(file: &Path, reason: String) -> Failure {
    Failure::Config {
        file: file.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let config = Config::parse(text).expect(text);
            assert_eq!(config.socket(), Path::new(socket), "{text}");
            assert_eq!(config.users(), Path::new(users), "{text}");
            assert_eq!(config.state_dir(), Path::new(state_dir), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_told_by_its_key() {
        for (text, expected) in [
            ("[control]\nsocket = 1", "control.socket: not a path"),
            ("[auth]\nusers = []", "auth.users: not a path"),
            ("state_dir = true", "state_dir: not a path"),
        ] {
            assert_eq!(Config::parse(text).expect_err(text), expected);
        }
        assert!(Config::parse("[control").is_err_and(|reason| !reason.contains('\n')));
    }
}
