//! Why a command was not done, and what to do about it.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody answers at the socket.
    #[error(
        "no relayd answers at {}: {reason}; start it (systemctl start relayd), \
         or name its socket with --socket PATH or its configuration with --config FILE",
        socket.display()
    )]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// There is a daemon, but not for this user.
    #[error(
        "may not connect to {}: run this as root or as the user that relayd runs as",
        socket.display()
    )]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
    },
    /// The configuration that should name the socket does not.
    #[error("{}: {reason}", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The daemon said no.
    #[error("{0}")]
    Refused(String),
    /// The daemon's answer cannot be what it meant to say.
    #[error("the daemon's answer broke off or makes no sense: {0}")]
    Answer(String),
    /// Our own output.
    #[error("writing the answer: {0}")]
    Output(io::Error),
}

impl Failure {
    /// An answer that cannot be understood.
    pub(crate) fn answer(reason: impl Display) -> Self {
        Self::Answer(reason.to_string())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) | Self::Answer(_) | Self::Output(_) => ExitCode::from(1),
            Self::NoDaemon { .. } | Self::NotAllowed { .. } | Self::Config { .. } => {
                ExitCode::from(2)
            }
        }
    }
}
