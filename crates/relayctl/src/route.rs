//! Where mail would go, from the daemon, or without one from the program of the daemon.

use relay_terminal::escape;
use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use relay_control::{Plan, path};

use crate::args::DaemonArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::form;
use crate::show;

#[derive(Debug, Args)]
pub(crate) struct RouteArgs {
    /// The envelope sender; "<>" for the null sender
    from: String,

    /// The recipient
    to: String,
}

pub(crate) async fn run(
    args: &RouteArgs,
    daemon: &DaemonArgs,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let client = Client::new(daemon.socket()?);
    let query = form::encode([("from", args.from.clone()), ("to", args.to.clone())]);
    let plan = match client.get(&format!("{}?{query}", path::ROUTE)).await {
        // Whoever names a socket asks about that daemon.
        Err(Failure::NoDaemon { .. }) if !daemon.names_socket() => without_daemon(args, daemon)?,
        answer => answer?,
    };
    if json {
        show::json(out, &plan)
    } else {
        show::plan(out, &plan)
    }
}

/// `relayd --config FILE route FROM TO`, which decides as the daemon would.
fn without_daemon(args: &RouteArgs, daemon: &DaemonArgs) -> Result<Plan, Failure> {
    let program = relayd();
    let ended = Command::new(&program)
        .arg("--config")
        .arg(daemon.config_file().path())
        .args(["route", "--", &args.from, &args.to])
        .output()
        .map_err(|reason| Failure::Refused(format!("{}: {reason}", program.display())))?;
    if ended.status.success() {
        return serde_json::from_slice(&ended.stdout).map_err(Failure::answer);
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.trim().trim_start_matches("relayd: ");
    Err(Failure::Refused(escape(said)))
}

/// The one that was installed with this program, or the one in the path.
fn relayd() -> PathBuf {
    let beside = |this: io::Result<PathBuf>| Some(this.ok()?.parent()?.join("relayd"));
    let found = beside(env::current_exe()).filter(|program| program.exists());
    found.unwrap_or_else(|| "relayd".into())
}
