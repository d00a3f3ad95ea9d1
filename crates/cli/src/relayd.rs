//! The command line of `relayd`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use relay_config::DEFAULT_FILE;

const EXIT_STATUS: &str = "\
Exit status:
  0  the daemon has shut down cleanly, or the command has succeeded
  1  the command has found damage, or not everything was exported or imported
  2  the configuration or the arguments are wrong, or the command has failed";

/// Accept mail over SMTP, keep it in a durable queue, and deliver it by MX or through a smarthost.
#[derive(Debug, Parser)]
#[command(name = "relayd", version, after_help = EXIT_STATUS)]
pub struct Cli {
    /// Read this configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,

    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,

    /// What to do instead of running the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `relayd` does instead of running as a daemon.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Demonstrate one delivery on loopback, then keep running for your own tests
    Demo,
    /// Check the queue while relayd is stopped
    #[command(after_help = "\
Exit status:
  0  the queue is sound
  1  some of it is damaged
  2  the queue cannot be read")]
    Fsck {
        /// Move what is damaged to `state_dir/corrupt`
        #[arg(long)]
        repair: bool,
    },
    /// Write the whole queue to standard output while relayd is stopped
    #[command(after_help = "\
Exit status:
  0  everything was written
  1  some messages are damaged and were left out
  2  the stream is incomplete")]
    Export,
    /// Import a stream that `relayd export` or `relayctl queue export` has written
    Import {
        /// The file to read; "-" for standard input
        file: PathBuf,
    },
}
