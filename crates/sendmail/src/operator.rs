//! What `mailq` and `sendmail -q` have always done, done by `relayctl`.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::failure::Failure;

/// Becomes `relayctl qread`.
pub(crate) fn mailq(config: Option<&Path>) -> Result<ExitCode, Failure> {
    Err(Failure::NoOperator(relayctl(config).arg("qread").exec()))
}

/// Has all that waits tried now; that nothing waits is as good.
pub(crate) fn retry(config: Option<&Path>) -> Result<ExitCode, Failure> {
    let mut command = relayctl(config);
    let ended = command.args(["queue", "retry", "--all"]).status();
    match ended.map_err(Failure::NoOperator)?.code() {
        Some(0 | 1) => Ok(ExitCode::SUCCESS),
        _ => Err(Failure::NoRelay("the queue cannot be tried now".to_owned())),
    }
}

fn relayctl(config: Option<&Path>) -> Command {
    let mut command = Command::new(beside_us().unwrap_or_else(|| "relayctl".into()));
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command
}

/// The one that was installed with this program, whatever link led here.
fn beside_us() -> Option<PathBuf> {
    let program = env::current_exe().ok()?.with_file_name("relayctl");
    program.exists().then_some(program)
}
