//! `relayd import`: adds a stream of `relayctl queue export` to the queue while the relay does not
//! run.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

use relay_message::{QueueId, QueueStore};
use relay_queue::archive::{self, End, Imported};

use crate::clock;
use crate::config::Config;
use crate::statedir;
use crate::store::open_store;

/// How many octets are read at a time.
const BUFFER: usize = 256 * 1024;

/// Imports the stream and prints the result. Returns whether all of its messages are in the queue
/// now.
///
/// `source` is a file, or `-` for standard input. An error means that the queue failed. The
/// lines that were printed before it remain valid.
pub async fn run(config: &Config, source: &Path, out: &mut impl Write) -> Result<bool, String> {
    statedir::check_owner(&config.state_dir)?;
    let input: Box<dyn BufRead> = if source == Path::new("-") {
        Box::new(BufReader::with_capacity(BUFFER, io::stdin()))
    } else {
        let file = File::open(source).map_err(|e| format!("{}: {e}", source.display()))?;
        Box::new(BufReader::with_capacity(BUFFER, file))
    };
    let store = open_store(config).await.map_err(|e| e.to_string())?;
    let store = Arc::new(store);
    let mut written = Ok(());
    let mut tell = |id: QueueId, reason: &str| {
        if written.is_ok() {
            written = writeln!(out, "{id} was not taken in: {reason}");
        }
    };
    let imported = archive::import(&store, input, clock::now(), &mut tell).await;
    let closed = store.close().await;
    let told = |reason: io::Error| format!("standard output: {reason}");
    written.map_err(told)?;
    writeln!(out, "{}", counted(&imported)).map_err(told)?;
    closed.map_err(|e| e.to_string())?;
    match imported.end {
        End::Whole => Ok(imported.refused == 0 && imported.damaged == 0),
        End::Torn(reason) => {
            let line = format!(
                "the stream is not whole: {reason}; of the message that this happened in nothing \
                 was taken in, and what came after it is unknown"
            );
            writeln!(out, "{line}").map_err(told)?;
            Ok(false)
        }
        End::Failed(reason) => Err(reason.to_string()),
    }
}

fn counted(imported: &Imported) -> String {
    let Imported {
        taken,
        refused,
        damaged,
        ..
    } = imported;
    let line = format!("messages taken in: {taken}, not taken in: {refused}");
    match damaged {
        0 => line,
        _ => format!("{line}, damaged where they came from: {damaged}"),
    }
}
