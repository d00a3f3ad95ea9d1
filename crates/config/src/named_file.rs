//! Files that the configuration names, such as certificates, keys and passwords.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ConfigError;

/// A file and the place in the configuration that names it.
#[derive(Debug, Clone)]
pub struct NamedFile {
    path: PathBuf,
    config: PathBuf,
    line: Option<usize>,
    key: String,
}

/// Two values are equal if they have the same path. Their places in the configuration do not matter.
impl PartialEq for NamedFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for NamedFile {}

impl NamedFile {
    pub(crate) fn new(path: &Path, config: &Path, line: Option<usize>, key: String) -> Self {
        Self {
            path: path.to_owned(),
            config: config.to_owned(),
            line,
            key,
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns an error about the file, with the line that names it.
    pub fn error(&self, reason: impl std::fmt::Display) -> ConfigError {
        ConfigError::new(&self.config, self.line, format!("{}: {reason}", self.key))
    }

    /// Returns an error if the file cannot be opened.
    pub fn check_readable(&self) -> Result<(), ConfigError> {
        match fs::File::open(&self.path) {
            Ok(_) => Ok(()),
            Err(reason) => {
                Err(self.error(format!("{} cannot be read: {reason}", self.path.display())))
            }
        }
    }
}
