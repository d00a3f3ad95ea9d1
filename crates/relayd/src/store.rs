//! Opens the store of the queue.

use std::path::PathBuf;

use relay_message::StoreError;
use relay_queue::{SledStore, StoreConfig};

use crate::config::Config;

/// Bodies up to this many octets are stored in the journal.
///
/// A larger body costs a file and two syncs of its own. One in the journal may be written a second
/// time, when its segment is given up.
const INLINE_BODY: usize = 128 * 1024;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("state_dir {}: {source}{}", dir.display(), hint(source))]
pub struct OpenStoreError {
    dir: PathBuf,
    source: StoreError,
}

/// Returns what to change if the reason does not say it.
fn hint(reason: &StoreError) -> &'static str {
    match reason {
        StoreError::Io { .. } => "; it must be a directory that the user of relayd can write to",
        _ => "",
    }
}

/// Opens the store on a thread that may block, because sweeping a large queue takes a while.
pub(crate) async fn open_store(config: &Config) -> Result<SledStore, OpenStoreError> {
    let dir = config.state_dir.clone();
    let store_config = StoreConfig {
        state_dir: dir.clone(),
        min_free: config.min_free,
        inline_body: INLINE_BODY,
    };
    let opened = tokio::task::spawn_blocking(move || SledStore::open(&store_config)).await;
    opened
        .map_err(|reason| StoreError::Closed {
            reason: reason.to_string(),
        })
        .flatten()
        .map_err(|source| OpenStoreError { dir, source })
}
