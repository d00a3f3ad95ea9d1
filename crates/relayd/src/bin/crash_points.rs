//! `relayd-crash-points`: the daemon as the crash tests run it. What it has that relayd has not is told
//! in `relay_failpoint`.

use std::process::ExitCode;

#[path = "../main.rs"]
mod relayd_program;

fn main() -> ExitCode {
    relayd_program::main()
}
