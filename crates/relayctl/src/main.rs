//! The operator's command line: inspects and controls a running relayd over its control socket, and
//! changes the users file without it.
//!
//! Exit codes: 0 done, 1 nothing matched or refused, 2 usage or no daemon.

mod acl;
mod audit;
mod cli;
mod client;
mod clock;
mod completion;
mod daemon_args;
mod error;
mod man;
mod output;
mod qstat;
mod queue;
mod route;
mod standing_rules;
mod top;
mod trace;
mod user;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use relay_control::{Filter, Reload, RuleVerb, Status, path};
use relay_diagnose::{check, dkim, mx, probe};
use relay_terminal::escape;

use crate::cli::{Cli, CliVerb, DaemonVerb};
use crate::client::Client;
use crate::clock::now;
use crate::error::RelayctlError;
use crate::output::print_answer;

fn main() -> ExitCode {
    let cli = cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli)),
        Err(reason) => Err(RelayctlError::Output(reason)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has closed the pipe.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed too, only the exit code remains. The message may contain text
            // from a client.
            let words = escape(&error.to_string());
            let _ = writeln!(io::stderr(), "relayctl: {words}");
            error.exit_code()
        }
    }
}

async fn run(cli: &Cli) -> Result<(), RelayctlError> {
    let mut out = BufWriter::new(io::stdout().lock());
    match &cli.verb {
        CliVerb::User(verb) => {
            user::run(verb, &cli.daemon.config_file().load()?, cli.json, &mut out)?;
        }
        CliVerb::Route(args) => route::run(args, &cli.daemon, cli.json, &mut out).await?,
        CliVerb::Mx(args) => mx::run(args, &cli.daemon.config_file(), cli.json, &mut out).await?,
        CliVerb::Probe(args) => {
            probe::run(args, &cli.daemon.config_file(), cli.json, &mut out).await?;
        }
        CliVerb::Check(args) => {
            check::run(args, &cli.daemon.config_file(), cli.json, &mut out).await?;
        }
        CliVerb::Dkim(verb) => {
            dkim::run(verb, &cli.daemon.config_file(), cli.json, &mut out).await?;
        }
        CliVerb::Man(args) => man::run(args, cli::command())?,
        CliVerb::Completion(args) => {
            completion::run(args, cli::command(), &mut out).map_err(RelayctlError::Output)?;
        }
        CliVerb::Ask(verb) => ask(verb, cli, &mut out).await?,
    }
    out.flush().map_err(RelayctlError::Output)
}

async fn ask(verb: &DaemonVerb, cli: &Cli, out: &mut impl Write) -> Result<(), RelayctlError> {
    let client = Client::new(cli.daemon.socket()?);
    match verb {
        DaemonVerb::Qstat { limit } => {
            let status: Status = client.get(path::STATUS).await?;
            if cli.json {
                print_answer(out, &status)
            } else {
                qstat::print_status(out, &status, *limit, now())
            }
        }
        DaemonVerb::Qread => {
            let everything = Filter::default();
            queue::list(&client, &everything, cli.json, out, queue::print_qread).await
        }
        DaemonVerb::Queue(verb) => queue::run(verb, &client, cli.json, out).await,
        DaemonVerb::Audit => audit::run(&client, cli.json, out).await,
        DaemonVerb::Suspend { destination } => {
            let verb = RuleVerb::Suspend(destination.clone());
            standing_rules::run(&verb, &client, cli.json, out).await
        }
        DaemonVerb::Resume { destination } => {
            let verb = RuleVerb::Resume(destination.clone());
            standing_rules::run(&verb, &client, cli.json, out).await
        }
        DaemonVerb::StandingRules => standing_rules::list(&client, cli.json, out).await,
        DaemonVerb::Top(args) => top::run(args, &client, cli.json, out).await,
        DaemonVerb::Trace(subject) => trace::run(subject, &client, cli.json, out).await,
        DaemonVerb::Acl(verb) => acl::run(verb, &client, cli.json, now(), out).await,
        DaemonVerb::Reload => reload(&client, cli.json, out).await,
    }
}

async fn reload(client: &Client, json: bool, out: &mut impl Write) -> Result<(), RelayctlError> {
    let reload: Reload = client.post(path::RELOAD).await?;
    if json {
        print_answer(out, &reload)?;
        out.flush().map_err(RelayctlError::Output)?;
    }
    match reload.problems.is_empty() {
        true if json => Ok(()),
        true => writeln!(out, "reloaded").map_err(RelayctlError::Output),
        false => Err(RelayctlError::Refused(format!(
            "not everything was applied: {}",
            reload.problems.join("; ")
        ))),
    }
}
