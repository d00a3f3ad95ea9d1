//! The options that select the daemon.

use std::path::PathBuf;

use clap::Args;
use relay_diagnose::ConfigFile;

use crate::failure::Failure;

/// Which daemon to ask.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// The relay's configuration, which names its control socket [default: /etc/relayd/relayd.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The relay's control socket
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
}

impl DaemonArgs {
    /// The relay's configuration file.
    pub(crate) fn config_file(&self) -> ConfigFile {
        ConfigFile::new(self.config.clone())
    }

    /// The path of the control socket: from the command line, or from the configuration.
    pub(crate) fn socket(&self) -> Result<PathBuf, Failure> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(self.config_file().load()?.socket()),
        }
    }

    /// Whether the operator has named the socket itself.
    pub(crate) fn names_socket(&self) -> bool {
        self.socket.is_some()
    }
}
