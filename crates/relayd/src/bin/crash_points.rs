//! `relayd-crash-points`: the daemon for the crash tests. `relay_failpoint` describes how it
//! differs from `relayd`.

use std::process::ExitCode;

#[path = "../main.rs"]
mod relayd_program;

fn main() -> ExitCode {
    relayd_program::main()
}
