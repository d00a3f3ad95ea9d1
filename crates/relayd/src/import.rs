//! `relayd import`: adds a stream of `relayctl queue export` to the queue while the relay does not
//! run.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relay_message::{QueueId, QueueStore, StoreError};
use relay_queue::archive::{self, End, Imported};

use crate::clock;
use crate::config::Config;
use crate::statedir::{self, OwnerError};
use crate::store::{OpenStoreError, open_store};

/// How many octets are read at a time.
const BUFFER: usize = 256 * 1024;

/// Why an import has failed. A damaged stream is not an error: it is part of the result.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The state directory belongs to another user.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The stream cannot be opened.
    #[error("{}: {source}", file.display())]
    Input {
        /// The file with the stream.
        file: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The queue cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenStoreError),
    /// The result cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// The queue has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Imports the stream and prints the result. Returns whether all of its messages are in the queue
/// now.
///
/// `source` is a file, or `-` for standard input. An error means that the queue failed. The
/// lines that were printed before it remain valid.
pub async fn run(
    config: &Config,
    source: &Path,
    out: &mut impl Write,
) -> Result<bool, ImportError> {
    statedir::check_owner(&config.state_dir)?;
    let input: Box<dyn BufRead> = if source == Path::new("-") {
        Box::new(BufReader::with_capacity(BUFFER, io::stdin()))
    } else {
        let file = File::open(source).map_err(|reason| ImportError::Input {
            file: source.to_owned(),
            source: reason,
        })?;
        Box::new(BufReader::with_capacity(BUFFER, file))
    };
    let store = Arc::new(open_store(config).await?);
    let mut written = Ok(());
    let mut report = |id: QueueId, reason: &str| {
        if written.is_ok() {
            written = writeln!(out, "{id} was refused: {reason}");
        }
    };
    let imported = archive::import(&store, input, clock::now(), &mut report).await;
    let closed = store.close().await;
    written
        .and_then(|()| writeln!(out, "{}", counts(&imported)))
        .map_err(ImportError::Output)?;
    closed?;
    match imported.end {
        End::Whole => Ok(imported.refused == 0 && imported.damaged == 0),
        End::Torn(reason) => {
            let line = format!(
                "the stream is incomplete: {reason}; the message at this point was not imported, \
                 and what follows it is unknown"
            );
            writeln!(out, "{line}").map_err(ImportError::Output)?;
            Ok(false)
        }
        End::Failed(reason) => Err(reason.into()),
    }
}

fn counts(imported: &Imported) -> String {
    let Imported {
        taken,
        refused,
        damaged,
        ..
    } = imported;
    let line = format!("messages imported: {taken}, refused: {refused}");
    match damaged {
        0 => line,
        _ => format!("{line}, damaged in the exported queue: {damaged}"),
    }
}
