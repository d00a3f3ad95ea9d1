//! `queue`: looks into the queue, and does what the operator wants of its messages.

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
use relay_control::{Entry, Filter, Verb, path};
use relay_terminal::escape_json;

use self::print::print_entry;
pub(crate) use self::print::print_qread;
use self::selection::Selection;
use self::show::ShowArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::standing_rules::{self, RuleVerb};
use crate::urlencode;

/// The longest query that is sent: the daemon takes 64 KiB for the address of a request.
const LONGEST_QUERY: usize = 60_000;

#[derive(Debug, Subcommand)]
pub(crate) enum QueueVerb {
    /// The messages in the queue, with the state of each recipient
    List(Selection),
    /// All that is known of one message
    Show(ShowArgs),
    /// How many recipients wait for which destination, and for how long, in minutes
    Summary {
        #[command(flatten)]
        selection: Selection,

        /// Destinations to show, those with the most recipients
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Write messages to standard output as a stream for `relayd import`, as a backup: this relay goes
    /// on working meanwhile and afterwards. To move a queue, stop relayd and use `relayd export`
    Export(Selection),
    /// Try messages now, whatever they wait for
    Retry(Selection),
    /// Set messages aside: nothing is tried until they are released
    Hold {
        #[command(flatten)]
        selection: Selection,

        /// Not what is in the queue, but what comes in from now on, by --domain, --sender or --all
        #[arg(long)]
        incoming: bool,
    },
    /// End what hold began, and try now
    Release {
        #[command(flatten)]
        selection: Selection,

        /// End the rule that was made in these words, or --all rules; what they have held stays held
        #[arg(long)]
        incoming: bool,
    },
    /// Remove messages, whole and for good; nobody is told
    Delete {
        #[command(flatten)]
        selection: Selection,

        /// Do not ask, however many they are
        #[arg(long)]
        yes: bool,
    },
    /// Give messages up, whole and for good, and report that to their senders
    Bounce {
        #[command(flatten)]
        selection: Selection,

        /// Do not ask, however many they are
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(
    verb: &QueueVerb,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
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
                let order = RuleVerb::Hold(standing_rules::rule(selection.scope()?)?);
                return standing_rules::run(&order, client, json, out).await;
            }
            (Verb::Hold, selection, true)
        }
        QueueVerb::Release {
            selection,
            incoming,
        } => {
            if *incoming {
                let order = RuleVerb::Release(standing_rules::rule(selection.scope()?)?);
                return standing_rules::run(&order, client, json, out).await;
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

/// Prints the queue's entries as they come: a long queue is never held in memory.
pub(crate) async fn list(
    client: &Client,
    filter: &Filter,
    json: bool,
    out: &mut impl Write,
    print: fn(&mut dyn Write, &Entry) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut lines = client
        .lines(&with_query(path::QUEUE, filter.pairs())?)
        .await?;
    let mut is_empty = true;
    while let Some(line) = lines.next().await? {
        // The daemon has looked at messages, and says that it is still there.
        if line.is_empty() {
            continue;
        }
        is_empty &= !line.starts_with(b"{");
        if json {
            let line = str::from_utf8(line).map_err(Failure::answer)?;
            writeln!(out, "{}", escape_json(line)).map_err(Failure::Output)?;
            continue;
        }
        let entry = line.strip_suffix(b",").unwrap_or(line);
        if entry.starts_with(b"{") {
            let entry = serde_json::from_slice(entry).map_err(Failure::answer)?;
            print(out, &entry).map_err(Failure::Output)?;
        }
    }
    found(filter, !is_empty, out)
}

/// A queue that is empty is no failure; that nothing is in it that was asked for is.
fn found(filter: &Filter, is_any: bool, out: &mut impl Write) -> Result<(), Failure> {
    if is_any || *filter == Filter::default() {
        return Ok(());
    }
    out.flush().map_err(Failure::Output)?;
    let reason = "no message in the queue matches".to_owned();
    Err(Failure::Refused(reason))
}

fn with_query(path: &str, pairs: Vec<(&str, String)>) -> Result<String, Failure> {
    let query = urlencode::encode(pairs);
    match query.len() {
        0 => Ok(path.to_owned()),
        length if length > LONGEST_QUERY => Err(Failure::Usage(
            "too many ids for one list: name at most three thousand at a time".to_owned(),
        )),
        _ => Ok(format!("{path}?{query}")),
    }
}
