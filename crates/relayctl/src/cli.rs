//! The command line.

use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use relay_diagnose::check::CheckArgs;
use relay_diagnose::dkim::DkimVerb;
use relay_diagnose::mx::MxArgs;
use relay_diagnose::probe::ProbeArgs;

use crate::acl::AclVerb;
use crate::completion::CompletionArgs;
use crate::daemon_args::{DaemonArgs, GLOBAL};
use crate::man::ManArgs;
use crate::queue::QueueVerb;
use crate::route::RouteArgs;
use crate::top::TopArgs;
use crate::trace::Subject;
use crate::user::UserVerb;

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  nothing matched, or the request was refused
  2  the arguments are wrong, or the daemon or the server does not answer";

/// Inspect and control a running relayd.
#[derive(Debug, Parser)]
#[command(name = "relayctl", version, arg_required_else_help = true, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,

    /// Print the answer as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) verb: CliVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliVerb {
    #[command(flatten)]
    Ask(DaemonVerb),
    /// Manage the users that may log in (works without the daemon)
    #[command(subcommand)]
    User(UserVerb),
    /// Show which route a message would take and which hosts would be tried
    Route(RouteArgs),
    /// Look up the hosts that accept mail for a domain
    Mx(MxArgs),
    /// Talk SMTP to a server as a sender would, and show the dialogue
    Probe(Box<ProbeArgs>),
    /// Check whether mail from a domain will arrive: DNS, block lists, ports, certificates
    Check(CheckArgs),
    /// Manage DKIM keys and check their DNS records (works without the daemon)
    #[command(subcommand)]
    Dkim(DkimVerb),
    /// Write the man pages
    Man(ManArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
}

/// The verbs that only the daemon can answer.
#[derive(Debug, Subcommand)]
pub(crate) enum DaemonVerb {
    /// Show how many messages wait, by state and by destination
    Qstat {
        /// Show this many destinations, those in trouble first
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// List all messages with their recipients, as qmail-qread does
    Qread,
    /// Check that every accepted recipient is accounted for (pauses intake meanwhile)
    Audit,
    /// Inspect and change the messages in the queue
    #[command(subcommand)]
    Queue(QueueVerb),
    /// Stop delivery to a destination until it is resumed
    Suspend {
        /// A domain, or a smarthost as qstat shows it
        #[arg(value_name = "DEST")]
        destination: String,
    },
    /// Resume delivery to a destination
    Resume {
        /// A domain, or a smarthost as qstat shows it
        #[arg(value_name = "DEST")]
        destination: String,
    },
    /// List the suspended destinations and the rules that hold incoming mail
    #[command(name = "orders")]
    StandingRules,
    /// Show destinations, rates and slots live; q quits
    Top(TopArgs),
    /// Follow the events of a message or a domain as they happen
    Trace(Subject),
    /// Allow clients to relay for a limited time
    #[command(subcommand)]
    Acl(AclVerb),
    /// Reload the configuration
    Reload,
}

/// Options that have no meaning for some verbs. Those verbs accept them, but their help does not
/// show them.
const HIDDEN: &[(&[&str], &[&str])] = &[
    (&["user"], &["socket"]),
    (&["user", "add"], &["json"]),
    (&["user", "passwd"], &["json"]),
    (&["user", "remove"], &["json"]),
    (&["queue", "export"], &["json"]),
    (&["acl", "remove"], &["json"]),
    (&["mx"], &["socket"]),
    (&["probe"], &["socket"]),
    (&["check"], &["socket"]),
    (&["dkim"], &["socket"]),
    (&["man"], &["config", "socket", "json"]),
    (&["completion"], &["config", "socket", "json"]),
];

/// Returns the definition of the command line, for parsing, man pages and completions.
pub(crate) fn command() -> Command {
    let mut command = Cli::command();
    let hidden: Vec<Arg> = command
        .get_arguments()
        .filter(|argument| argument.is_global_set())
        .map(|argument| argument.clone().hide(true))
        .collect();
    for (verbs, options) in HIDDEN {
        let of_verb = hidden
            .iter()
            .filter(|o| options.contains(&o.get_id().as_str()));
        command = hide(command, verbs, &of_verb.cloned().collect::<Vec<_>>());
    }
    command
}

fn hide(command: Command, verbs: &[&str], options: &[Arg]) -> Command {
    match verbs {
        [] => command.args(options),
        [verb, rest @ ..] => command.mut_subcommand(verb, |inner| hide(inner, rest, options)),
    }
}

/// Parses the arguments of this process. Exits if they are invalid.
pub(crate) fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verbs with which the summary of a command may begin.
    const VERBS: &[&str] = &[
        "Accept",
        "Add",
        "Allow",
        "Bounce",
        "Change",
        "Check",
        "Compare",
        "Count",
        "Delete",
        "Demonstrate",
        "End",
        "Follow",
        "Generate",
        "Give",
        "Import",
        "Inspect",
        "List",
        "Look",
        "Manage",
        "Print",
        "Reload",
        "Remove",
        "Replace",
        "Resume",
        "Show",
        "Stop",
        "Talk",
        "Try",
        "Write",
    ];
    const LINES: usize = 40;
    const COLUMNS: usize = 100;

    /// Checks a verb and its subcommands. `path` has the words of the command line before it.
    fn check(root: &Command, command: &Command, path: &[String]) {
        let about = command.get_about().map(ToString::to_string);
        let about = about.unwrap_or_default();
        let first = about.split_whitespace().next().unwrap_or_default();
        assert!(
            VERBS.contains(&first),
            "{path:?}: {about:?} does not begin with a verb"
        );
        let words = path.iter().map(String::as_str).chain(["--help"]);
        let shown = root.clone().try_get_matches_from(words);
        let help = shown.expect_err("the help ends it").to_string();
        assert!(help.starts_with(&about), "{path:?}: {help}");
        assert!(help.lines().count() <= LINES, "{path:?}: {help}");
        for line in help.lines() {
            assert!(line.chars().count() <= COLUMNS, "{path:?}: {line}");
        }
        for inner in command.get_subcommands() {
            let path = [path, &[inner.get_name().to_owned()]].concat();
            check(root, inner, &path);
        }
    }

    #[test]
    fn every_help_begins_with_a_verb_and_fits_a_screen() {
        for root in [command(), relay_cli::relayd::Cli::command()] {
            check(&root, &root, &[root.get_name().to_owned()]);
        }
    }

    #[test]
    fn options_without_a_meaning_are_accepted_but_not_shown() {
        let mut command = command();
        command.build();
        let user = command.find_subcommand_mut("user").expect("a verb");
        let add = user.find_subcommand_mut("add").expect("a verb");
        let help = add.render_help().to_string();
        assert!(help.contains("--config"), "{help}");
        assert!(
            !help.contains("--json") && !help.contains("--socket"),
            "{help}"
        );
        let words = ["relayctl", "--socket", "/s", "user", "--json", "add", "app"];
        let matches = command.try_get_matches_from(words).expect("arguments");
        let cli = Cli::from_arg_matches(&matches).expect("arguments");
        assert!(cli.json && cli.daemon.names_socket());
    }
}
