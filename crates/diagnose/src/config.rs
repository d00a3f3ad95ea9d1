//! The relay's configuration as the commands read it: a key that a command does not need may be wrong.

use std::path::{Path, PathBuf};

use relay_config::schema::File;
use relay_config::{ConfigError, DEFAULT_FILE, Lenient};
use relay_routing::RouteProblem;

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
        LoadedConfig::read(self.path(), self.named.is_none())
    }
}

/// The content of the relay's configuration file.
#[derive(Debug)]
pub struct LoadedConfig {
    path: PathBuf,
    lenient: Lenient,
}

impl LoadedConfig {
    fn read(path: &Path, may_be_missing: bool) -> Result<Self, Error> {
        let lenient = match Lenient::read(path) {
            Err(reason) if may_be_missing && reason.is_missing() => Lenient::default(),
            read => read?,
        };
        Ok(Self {
            path: path.to_owned(),
            lenient,
        })
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

    /// Returns the error for a route that cannot be used, with its line.
    pub(crate) fn error_of_route(&self, problem: &RouteProblem) -> ConfigError {
        self.lenient
            .source()
            .map_or_else(|error| error, |source| problem.at_its_line(&source))
    }

    /// Returns the path of the users file. A value that is not a path is an error.
    pub fn users(&self) -> Result<&Path, Error> {
        self.require(&["auth.users"])?;
        Ok(&self.file().auth.users)
    }

    /// Returns the state directory, which belongs to the user that the daemon runs as. A value that is not
    /// a path is an error.
    pub fn state_dir(&self) -> Result<&Path, Error> {
        self.require(&["state_dir"])?;
        Ok(&self.file().state_dir.0)
    }

    /// Returns the path of the control socket. A value that is not a path is an error.
    pub fn socket(&self) -> Result<&Path, Error> {
        self.require(&["control.socket"])?;
        Ok(&self.file().control.socket.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use relay_config::schema::{DEFAULT_CONTROL_SOCKET, DEFAULT_USERS_FILE};

    /// The configuration in this text, from the file `relayd.toml`.
    pub(crate) fn parse(text: &str) -> Result<LoadedConfig, Error> {
        let path = Path::new("relayd.toml");
        Ok(LoadedConfig {
            path: path.to_owned(),
            lenient: Lenient::parse(path, text)?,
        })
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
            let paths = [config.socket(), config.users(), config.state_dir()];
            let paths = paths.map(|path| path.expect(text));
            assert_eq!(paths, [socket, users, state_dir].map(Path::new), "{text}");
        }
    }

    #[test]
    fn a_path_of_another_type_is_an_error_only_where_it_is_needed() {
        let text = "state_dir = true\n[control]\nsocket = 1\n[auth]\nusers = []";
        let config = parse(text).expect("TOML");
        for (path, expected) in [
            (config.state_dir(), "relayd.toml:1: state_dir: "),
            (config.socket(), "relayd.toml:3: control.socket: "),
            (config.users(), "relayd.toml:5: auth.users: "),
        ] {
            let error = path.expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(parse("[control").is_err_and(|error| !error.to_string().contains('\n')));
    }

    #[test]
    fn only_the_default_file_may_be_missing() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("relayd.toml");
        let default = LoadedConfig::read(&missing, true).expect("the defaults");
        assert_eq!(default.file(), &File::default());
        let error = ConfigFile::new(Some(missing.clone())).load();
        let expected = format!("{}: cannot be read: ", missing.display());
        assert!(error.is_err_and(|error| error.to_string().starts_with(&expected)));
    }
}
