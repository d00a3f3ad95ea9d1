//! Why a command has failed.

use std::io;

use relay_config::{ConfigError, FileError};
use relay_terminal::password::PasswordError;

/// Why a command has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments are wrong or incomplete.
    #[error("{0}")]
    Usage(String),
    /// There is no password to log in with.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The result is negative: a server refuses, a check fails, a key is not published.
    #[error("{0}")]
    Refused(String),
    /// A server or the DNS did not answer.
    #[error("{0}")]
    NotReached(String),
    /// The result cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}
