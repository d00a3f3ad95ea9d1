//! Why a command failed, and what the operator can do.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use relay_terminal::password::PasswordError;
use relay_users::{HashError, RecordError, UsersError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayctlError {
    /// No daemon answers at the socket.
    #[error(
        "no relayd answers at {}: {reason}; start it (systemctl start relayd), \
         or give its socket with --socket PATH or its configuration with --config FILE",
        socket.display()
    )]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The caller has no permission to use the socket.
    #[error(
        "no permission to connect to {}: run this as root or as the user that relayd runs as",
        socket.display()
    )]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
    },
    /// A tool that does not need the daemon has failed, or the configuration cannot be read.
    #[error(transparent)]
    Diagnose(#[from] relay_diagnose::Error),
    /// There is no password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The users file cannot be read or written.
    #[error("{source}{}", hint(source))]
    Users {
        /// The error.
        #[from]
        source: UsersError,
    },
    /// The arguments are wrong or incomplete.
    #[error("{0}")]
    Usage(String),
    /// The request was refused, or matched nothing.
    #[error("{0}")]
    Refused(String),
    /// The daemon cannot do it now: it is shutting down, or its queue does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// There is no answer, or it is incomplete or invalid.
    #[error("the daemon's answer is incomplete or invalid: {0}")]
    Answer(String),
    /// The daemon has stopped while it was being watched.
    #[error("the relay has stopped: {0}")]
    Gone(String),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl RelayctlError {
    /// Creates the failure for an invalid answer.
    pub(crate) fn answer(reason: impl Display) -> Self {
        Self::Answer(reason.to_string())
    }

    /// Returns whether the reader of the output has closed the pipe.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Output(reason) | Self::Diagnose(relay_diagnose::Error::Output(reason)) => {
                reason.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Users { .. } | Self::Password(_) | Self::Refused(_) | Self::Output(_) => {
                ExitCode::from(1)
            }
            // The result is unknown. Exit code 1 would mean that it is negative.
            Self::Unavailable(_)
            | Self::Answer(_)
            | Self::Gone(_)
            | Self::Usage(_)
            | Self::NoDaemon { .. }
            | Self::NotAllowed { .. } => ExitCode::from(2),
            Self::Diagnose(error) => ExitCode::from(diagnose_code(error)),
        }
    }
}

fn diagnose_code(error: &relay_diagnose::Error) -> u8 {
    use relay_diagnose::Error;
    match error {
        Error::Refused(_) | Error::Password(_) | Error::Output(_) => 1,
        Error::Usage(_) | Error::NotReached(_) | Error::File(_) | Error::Config(_) => 2,
    }
}

impl From<RecordError> for RelayctlError {
    fn from(reason: RecordError) -> Self {
        Self::Refused(reason.to_string())
    }
}

impl From<HashError> for RelayctlError {
    fn from(reason: HashError) -> Self {
        Self::Refused(reason.to_string())
    }
}

/// Returns what to do if the reason does not say it.
fn hint(reason: &UsersError) -> &'static str {
    match reason {
        UsersError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "; run this as root or as the user that relayd runs as"
        }
        UsersError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "; create its directory first"
        }
        _ => "",
    }
}
