//! Compares the files in `mess/` with the queue, at a start.

use std::collections::HashMap;
use std::fs;

use relay_message::{QueueId, StoreError};
use tracing::{info, warn};

use crate::content::{self, Damage, file_length};
use crate::quarantine::{self, Evidence};
use crate::spool::io_error;
use crate::store_state::StoreState;

/// What to do with a body that belongs to no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unclaimed {
    /// Remove it. It was never accepted, or its message has left.
    Remove,
    /// Set it aside. A part of the journal is lost, and the body may be all that is left of its
    /// message.
    Keep,
}

/// A damaged message, and the reason.
type Damaged = (QueueId, String);
/// The lengths of body files.
type Lengths = HashMap<QueueId, u64>;

/// Removes files that belong to no message, and returns the messages whose file is missing or has
/// the wrong length.
pub(crate) fn run(state: &StoreState, unclaimed: Unclaimed) -> Result<Vec<Damaged>, StoreError> {
    let (mut expected, mut damaged) = expected_files(state)?;
    let mess = state.mess();
    let unreadable = |e| io_error("reading the directory", &mess, e);
    for entry in fs::read_dir(&mess).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.parse::<QueueId>().ok());
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let Some(id) = id.filter(|_| is_file) else {
            if let Err(e) = quarantine::keep_stray(state, &entry) {
                warn!(target: "relayd", event = "corrupt", file = ?name, error = %e,
                    "corrupt: {name:?} in mess/ is not a file of the queue and cannot be moved: {e}");
            }
            continue;
        };
        let Some(expected) = expected.remove(&id) else {
            if state.index().get(id).is_none_or(|entry| !entry.has_file()) {
                remove_or_keep(state, id, unclaimed)?;
            }
            continue;
        };
        let found = entry.metadata().map(|m| m.len()).unwrap_or_default();
        if found != expected {
            damaged.push((id, Damage::FileLength { found, expected }.to_string()));
        }
    }
    let without = expected.into_keys();
    damaged.extend(without.map(|id| (id, Damage::NoFile.to_string())));
    Ok(damaged)
}

/// Returns the lengths of the files that messages have, and the messages whose record is damaged.
fn expected_files(state: &StoreState) -> Result<(Lengths, Vec<Damaged>), StoreError> {
    let with_files: Vec<QueueId> = {
        let index = state.index();
        let entries = index.above(None).filter(|(_, entry)| entry.has_file());
        entries.map(|(id, _)| id).collect()
    };
    let (mut lengths, mut damaged) = (HashMap::new(), Vec::new());
    for id in with_files {
        match content::record(state, id) {
            Ok(Some(record)) => {
                lengths.insert(id, file_length(&record.layout));
            }
            Ok(None) => {}
            Err(StoreError::Damaged { id, reason }) => damaged.push((id, reason)),
            Err(e) => return Err(e),
        }
    }
    Ok((lengths, damaged))
}

fn remove_or_keep(state: &StoreState, id: QueueId, unclaimed: Unclaimed) -> Result<(), StoreError> {
    let path = state.body(id);
    match unclaimed {
        Unclaimed::Remove => {
            fs::remove_file(&path).map_err(|e| io_error("removing", &path, e))?;
            info!(target: "relayd", event = "sweep", %id,
                "removed the body of {id}, which was never accepted or has left");
        }
        Unclaimed::Keep => {
            let reason = "a body without a message, and a part of the journal is lost";
            if let Err(e) = quarantine::keep(state, id, &Evidence::default(), reason) {
                quarantine::warn_of_staying(id, reason, &e);
            }
        }
    }
    Ok(())
}
