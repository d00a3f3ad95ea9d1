//! The operator's command line: inspects and controls a running relayd over its control socket, and
//! changes the users file without it.
//!
//! Exit codes: 0 done, 1 nothing matched or refused, 2 usage or no daemon.

mod acl;
mod args;
mod audit;
mod cli;
mod client;
mod clock;
mod completion;
mod failure;
mod man;
mod output;
mod qstat;
mod queue;
mod route;
mod standing_rules;
mod top;
mod trace;
mod urlencode;
mod user;

use relay_terminal::escape;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use relay_control::{Filter, Reload, Status, path};
use relay_diagnose::{check, dkim, mx, probe};

use crate::cli::{Cli, DaemonVerb, Verb};
use crate::client::Client;
use crate::clock::now;
use crate::failure::Failure;
use crate::output::print_answer;
use crate::standing_rules::RuleVerb;

fn main() -> ExitCode {
    let cli = cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli)),
        Err(reason) => Err(Failure::Output(reason)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has closed the pipe.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // If standard error is closed too, only the exit code remains. The message may contain text
            // from a client.
            let words = escape(&failure.to_string());
            let _ = writeln!(io::stderr(), "relayctl: {words}");
            failure.exit_code()
        }
    }
}

async fn run(cli: &Cli) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match &cli.verb {
        Verb::User(verb) => user::run(verb, &cli.daemon.config_file().load()?, cli.json, &mut out)?,
        Verb::Route(args) => route::run(args, &cli.daemon, cli.json, &mut out).await?,
        Verb::Mx(args) => mx::run(args, &cli.daemon.config_file(), cli.json, &mut out).await?,
        Verb::Probe(args) => {
            probe::run(args, &cli.daemon.config_file(), cli.json, &mut out).await?;
        }
        Verb::Check(args) => {
            check::run(args, &cli.daemon.config_file(), cli.json, &mut out).await?;
        }
        Verb::Dkim(verb) => dkim::run(verb, &cli.daemon.config_file(), cli.json, &mut out).await?,
        Verb::Man(args) => man::run(args, cli::command())?,
        Verb::Completion(args) => {
            completion::run(args, cli::command(), &mut out).map_err(Failure::Output)?;
        }
        Verb::Ask(verb) => ask(verb, cli, &mut out).await?,
    }
    out.flush().map_err(Failure::Output)
}

async fn ask(verb: &DaemonVerb, cli: &Cli, out: &mut impl Write) -> Result<(), Failure> {
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
            standing_rules::run(&RuleVerb::Suspend(destination), &client, cli.json, out).await
        }
        DaemonVerb::Resume { destination } => {
            standing_rules::run(&RuleVerb::Resume(destination), &client, cli.json, out).await
        }
        DaemonVerb::Orders => standing_rules::list(&client, cli.json, out).await,
        DaemonVerb::Top(args) => top::run(args, &client, cli.json, out).await,
        DaemonVerb::Trace(subject) => trace::run(subject, &client, cli.json, out).await,
        DaemonVerb::Acl(verb) => acl::run(verb, &client, cli.json, now(), out).await,
        DaemonVerb::Reload => reload(&client, cli.json, out).await,
    }
}

async fn reload(client: &Client, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let reload: Reload = client.post(path::RELOAD).await?;
    if json {
        print_answer(out, &reload)?;
        out.flush().map_err(Failure::Output)?;
    }
    match reload.problems.is_empty() {
        true if json => Ok(()),
        true => writeln!(out, "reloaded").map_err(Failure::Output),
        false => Err(Failure::Refused(format!(
            "not everything was applied: {}",
            reload.problems.join("; ")
        ))),
    }
}
