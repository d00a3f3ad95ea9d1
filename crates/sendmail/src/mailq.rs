//! `mailq` and `sendmail -q`. Both run `relayctl`.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::error::SendmailError;

/// Replaces this process by `relayctl qread`.
pub(crate) fn show(config: Option<&Path>) -> Result<ExitCode, SendmailError> {
    Err(SendmailError::NoRelayctl(
        relayctl(config).arg("qread").exec(),
    ))
}

/// Retries all waiting messages. Having none is a success too.
pub(crate) fn retry(config: Option<&Path>) -> Result<ExitCode, SendmailError> {
    let mut command = relayctl(config);
    let ended = command.args(["queue", "retry", "--all"]).status();
    match ended.map_err(SendmailError::NoRelayctl)?.code() {
        Some(0 | 1) => Ok(ExitCode::SUCCESS),
        _ => Err(SendmailError::Retry),
    }
}

fn relayctl(config: Option<&Path>) -> Command {
    let mut command = Command::new(installed_beside().unwrap_or_else(|| "relayctl".into()));
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command
}

/// Returns the `relayctl` in the directory of this program, after resolving symbolic links.
fn installed_beside() -> Option<PathBuf> {
    let program = env::current_exe().ok()?.with_file_name("relayctl");
    program.exists().then_some(program)
}
