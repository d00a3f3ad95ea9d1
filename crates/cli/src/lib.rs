//! The command lines of `relayd` and `sendmail`. The programs use them, and `relayctl` makes the man pages
//! and the shell completions from them without linking the daemon.

pub mod relayd;
pub mod sendmail;
