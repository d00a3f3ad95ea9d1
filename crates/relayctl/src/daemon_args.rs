//! The options that select the daemon.

use std::path::PathBuf;

use clap::Args;
use relay_diagnose::ConfigFile;

use crate::error::RelayctlError;

/// The heading of the options that every verb has.
pub(crate) const GLOBAL: &str = "Global options";

/// Which daemon to ask.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// Read this configuration of the relay [default: /etc/relayd/relayd.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    config: Option<PathBuf>,

    /// Connect to this control socket [default: as configured]
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "config", help_heading = GLOBAL)]
    socket: Option<PathBuf>,
}

impl DaemonArgs {
    /// The relay's configuration file.
    pub(crate) fn config_file(&self) -> ConfigFile {
        ConfigFile::new(self.config.clone())
    }

    /// The path of the control socket: from the command line, or from the configuration.
    pub(crate) fn socket(&self) -> Result<PathBuf, RelayctlError> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(self.config_file().load()?.socket()?.to_owned()),
        }
    }

    /// Whether the operator has named the socket itself.
    pub(crate) fn names_socket(&self) -> bool {
        self.socket.is_some()
    }
}
