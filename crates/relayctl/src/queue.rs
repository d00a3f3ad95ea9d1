//! `queue`: inspects the queue and applies the operator's verbs to its messages.

mod apply;
mod confirm;
mod content;
mod export;
mod print;
mod selection;
mod show;
mod summary;

use std::io::{self, Write};

use clap::Subcommand;
use relay_control::{Filter, QueueEntry, RuleVerb, Verb, path};
use relay_terminal::escape_json;

use self::print::print_entry;
pub(crate) use self::print::print_qread;
use self::selection::Selection;
use self::show::ShowArgs;
use crate::client::Client;
use crate::error::RelayctlError;
use crate::standing_rules;

/// The longest query that is sent: the daemon accepts 64 KiB for the URI of a request.
const LONGEST_QUERY: usize = 60_000;

#[derive(Debug, Subcommand)]
pub(crate) enum QueueVerb {
    /// List messages with the state of each recipient
    List(Selection),
    /// Show one message: its recipients and their attempts, or its content
    Show(ShowArgs),
    /// Count the waiting recipients by destination and age in minutes, as qshape does
    Summary {
        #[command(flatten)]
        selection: Selection,

        /// Show this many destinations, the largest first
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Write messages to standard output for `relayd import`, as a backup
    #[command(after_help = "\
The relay keeps delivering these messages. To move a queue, stop relayd and use `relayd export`.")]
    Export(Selection),
    /// Try messages now instead of waiting
    Retry(Selection),
    /// Stop delivery of messages until they are released
    Hold {
        #[command(flatten)]
        selection: Selection,

        /// Hold future mail instead, selected by --domain, --sender or --all
        #[arg(long)]
        incoming: bool,
    },
    /// End a hold and try the messages now
    Release {
        #[command(flatten)]
        selection: Selection,

        /// Remove the rule with these conditions, or --all; held mail stays held
        #[arg(long)]
        incoming: bool,
    },
    /// Delete messages without notifying anybody
    Delete {
        #[command(flatten)]
        selection: Selection,

        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Bounce messages: give them up and report the failure to their senders
    Bounce {
        #[command(flatten)]
        selection: Selection,

        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(
    verb: &QueueVerb,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let (verb, selection, is_sure) = match verb {
        QueueVerb::List(selection) => {
            return list(client, &selection.for_list()?, json, out, print_entry).await;
        }
        QueueVerb::Show(args) => return show::run(args, client, json, out).await,
        QueueVerb::Summary { selection, limit } => {
            return summary::run(&selection.for_list()?, *limit, client, json, out).await;
        }
        QueueVerb::Export(selection) => {
            return export::run(&selection.for_list()?, client, out).await;
        }
        QueueVerb::Retry(selection) => (Verb::Retry, selection, true),
        QueueVerb::Hold {
            selection,
            incoming,
        } => {
            if *incoming {
                let rule = RuleVerb::Hold(standing_rules::incoming(selection.scope()?)?);
                return standing_rules::run(&rule, client, json, out).await;
            }
            (Verb::Hold, selection, true)
        }
        QueueVerb::Release {
            selection,
            incoming,
        } => {
            if *incoming {
                let rule = RuleVerb::Release(standing_rules::incoming(selection.scope()?)?);
                return standing_rules::run(&rule, client, json, out).await;
            }
            (Verb::Release, selection, true)
        }
        QueueVerb::Delete { selection, yes } => (Verb::Delete, selection, *yes),
        QueueVerb::Bounce { selection, yes } => (Verb::Bounce, selection, *yes),
    };
    let scope = selection.scope()?;
    if !is_sure {
        confirm::confirm(verb, &scope, client).await?;
    }
    apply::run(verb, &scope, client, json, out).await
}

/// Prints the entries as they arrive, so that a long queue is never held in memory.
pub(crate) async fn list(
    client: &Client,
    filter: &Filter,
    json: bool,
    out: &mut impl Write,
    print: fn(&mut dyn Write, &QueueEntry) -> io::Result<()>,
) -> Result<(), RelayctlError> {
    let mut lines = client.lines(&with_query(path::QUEUE, filter)?).await?;
    let mut is_empty = true;
    while let Some(line) = lines.next().await? {
        // An empty line shows that the daemon is still reading.
        if line.is_empty() {
            continue;
        }
        is_empty &= !line.starts_with(b"{");
        if json {
            let line = str::from_utf8(line).map_err(RelayctlError::answer)?;
            writeln!(out, "{}", escape_json(line)).map_err(RelayctlError::Output)?;
            continue;
        }
        let entry = line.strip_suffix(b",").unwrap_or(line);
        if entry.starts_with(b"{") {
            let entry = serde_json::from_slice(entry).map_err(RelayctlError::answer)?;
            print(out, &entry).map_err(RelayctlError::Output)?;
        }
    }
    found(filter, !is_empty, out)
}

/// An empty queue is not a failure, but a filter that matches nothing is.
fn found(filter: &Filter, is_any: bool, out: &mut impl Write) -> Result<(), RelayctlError> {
    if is_any || *filter == Filter::default() {
        return Ok(());
    }
    out.flush().map_err(RelayctlError::Output)?;
    let reason = "no message in the queue matches".to_owned();
    Err(RelayctlError::Refused(reason))
}

fn with_query(path: &str, filter: &Filter) -> Result<String, RelayctlError> {
    let query = filter.query();
    match query.len() {
        0 => Ok(path.to_owned()),
        length if length > LONGEST_QUERY => Err(RelayctlError::Usage(
            "too many ids for one list: use at most three thousand at a time".to_owned(),
        )),
        _ => Ok(format!("{path}?{query}")),
    }
}
