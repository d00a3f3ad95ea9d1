//! The command line of the relay's operator: asks the daemon over its control socket, and changes
//! the users file without it.
//!
//! Exit codes: 0 done, 1 nothing matched or refused, 2 usage or no daemon.

mod acl;
mod args;
mod audit;
mod client;
mod clock;
mod failure;
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

use clap::{Parser, Subcommand};
use relay_control::{Filter, Reload, Status, path};
use relay_diagnose::check::{self, CheckArgs};
use relay_diagnose::dkim::{self, DkimVerb};
use relay_diagnose::mx::{self, MxArgs};
use relay_diagnose::probe::{self, ProbeArgs};

use crate::acl::AclVerb;
use crate::args::DaemonArgs;
use crate::client::Client;
use crate::clock::now;
use crate::failure::Failure;
use crate::output::print_answer;
use crate::queue::QueueVerb;
use crate::route::RouteArgs;
use crate::standing_rules::RuleVerb;
use crate::top::TopArgs;
use crate::user::UserVerb;

/// See and steer the relay.
#[derive(Debug, Parser)]
#[command(name = "relayctl", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    daemon: DaemonArgs,

    /// Print the daemon's answer as JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(flatten)]
    Ask(Question),
    /// Who may log in; works without a daemon, which sees changes by itself
    #[command(subcommand)]
    User(UserVerb),
    /// Where mail from one address to another would go; works without a daemon
    Route(RouteArgs),
    /// Which hosts take mail for a domain, in the order they would be tried; asks the DNS, not the
    /// daemon
    Mx(MxArgs),
    /// Speak with a server as a sender would, and show every word; exit code 0 if it accepts, 1 if it
    /// refuses, 2 if it is not reached
    Probe(Box<ProbeArgs>),
    /// Whether mail from a domain of ours will arrive: its DNS records, this machine's name and address,
    /// block lists, port 25, certificates; exit code 1 if something fails
    Check(CheckArgs),
    /// Keys that mail is signed with, and their DNS records; works without a daemon
    #[command(subcommand)]
    Dkim(DkimVerb),
}

/// What only a daemon can answer or do.
#[derive(Debug, Subcommand)]
enum Question {
    /// How many messages wait, by state and by destination
    Qstat {
        /// Destinations to show, those in trouble and those most is waited for first
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// All messages in the queue, with their recipients, as qmail-qread shows them
    Qread,
    /// Whether every recipient that came in is accounted for; clients wait while it counts
    Audit,
    /// Look into the queue, and steer what is in it
    #[command(subcommand)]
    Queue(QueueVerb),
    /// Send nothing to a destination until it is resumed: a domain, or a smarthost as qstat names it
    Suspend {
        /// What mail waits for
        #[arg(value_name = "DEST")]
        destination: String,
    },
    /// End what suspend began
    Resume {
        /// What mail waits for
        #[arg(value_name = "DEST")]
        destination: String,
    },
    /// What is suspended, and what is held as it comes in
    StandingRules,
    /// A live view of destinations, rates and slots; q ends it
    Top(TopArgs),
    /// Follow the events of a message, or of all mail to a domain, as they happen
    Trace(trace::Subject),
    /// Who may relay for a while
    #[command(subcommand)]
    Acl(AclVerb),
    /// Have the daemon read its configuration again
    Reload,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli)),
        Err(reason) => Err(Failure::Output(reason)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // Where standard error is gone too, the exit code has to do.
            // Part of the words may be the daemon's, and in them whatever a client has said.
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
        Verb::Ask(question) => ask(question, cli, &mut out).await?,
    }
    out.flush().map_err(Failure::Output)
}

async fn ask(question: &Question, cli: &Cli, out: &mut impl Write) -> Result<(), Failure> {
    let client = Client::new(cli.daemon.socket()?);
    match question {
        Question::Qstat { limit } => {
            let status: Status = client.get(path::STATUS).await?;
            if cli.json {
                print_answer(out, &status)
            } else {
                qstat::print_status(out, &status, *limit, now())
            }
        }
        Question::Qread => {
            let everything = Filter::default();
            queue::list(&client, &everything, cli.json, out, queue::print_qread).await
        }
        Question::Queue(verb) => queue::run(verb, &client, cli.json, out).await,
        Question::Audit => audit::run(&client, cli.json, out).await,
        Question::Suspend { destination } => {
            standing_rules::run(&RuleVerb::Suspend(destination), &client, cli.json, out).await
        }
        Question::Resume { destination } => {
            standing_rules::run(&RuleVerb::Resume(destination), &client, cli.json, out).await
        }
        Question::StandingRules => standing_rules::list(&client, cli.json, out).await,
        Question::Top(args) => top::run(args, &client, cli.json, out).await,
        Question::Trace(subject) => trace::run(subject, &client, cli.json, out).await,
        Question::Acl(verb) => acl::run(verb, &client, cli.json, now(), out).await,
        Question::Reload => reload(&client, cli.json, out).await,
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
            "not all was applied: {}",
            reload.problems.join("; ")
        ))),
    }
}
