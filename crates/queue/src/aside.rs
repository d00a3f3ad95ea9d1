//! What does not fit goes to `corrupt/`, for a person to look at.
//!
//! Each case has one file `NAME.reason`, and beside it, of a message, what there was of its record,
//! content and body. A name that is taken gets a number: nothing there is ever overwritten.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use tracing::warn;

use crate::committer::Shared;
use crate::crash;
use crate::database::Table;
use crate::error::StoreError;
use crate::id::QueueId;
use crate::parts::Kind;
use crate::spool::io_error;

const REASON: &str = "reason";
const ENDINGS: [&str; 4] = [REASON, "record", "content", "body"];

/// What the database holds of a damaged message.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) record: sled::IVec,
    pub(crate) content: sled::IVec,
}

impl Evidence {
    /// `None` if there is no such message.
    pub(crate) fn gather(table: &Table, id: QueueId) -> Result<Option<Self>, StoreError> {
        let Some(record) = table.get(Kind::Record, id)? else {
            return Ok(None);
        };
        let content = table.get(Kind::Content, id)?.unwrap_or_default();
        Ok(Some(Self { record, content }))
    }
}

/// Cases that lie there.
pub(crate) fn count(shared: &Shared) -> Result<u64, StoreError> {
    let corrupt = shared.corrupt();
    let names = fs::read_dir(&corrupt)
        .map_err(|e| io_error("reading the directory", &corrupt, e))?
        .flatten();
    let is_reason = |name: &DirEntry| name.path().extension().is_some_and(|e| e == REASON);
    Ok(names.filter(is_reason).count() as u64)
}

/// Writes what there is of a damaged message, and why, and moves its body; durable on return. The
/// record is the caller's to remove.
pub(crate) fn keep(
    shared: &Shared,
    id: QueueId,
    evidence: &Evidence,
    reason: &str,
) -> Result<(), StoreError> {
    let case = free_name(shared, OsStr::new(&id.to_string()));
    for (ending, value) in [("record", &evidence.record), ("content", &evidence.content)] {
        if !value.is_empty() {
            write_durably(&with_ending(&case, ending), value)?;
        }
    }
    let body = shared.body(id);
    let moved =
        crash::call("aside-rename").and_then(|()| fs::rename(&body, with_ending(&case, "body")));
    match moved {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("moving away", &body, e));
        }
        _ => {}
    }
    close_case(shared, &case, reason)?;
    crash::point("kept-aside");
    warn!(target: "relayd", event = "corrupt", %id, reason,
        "corrupt: message {id} is damaged ({reason}); set aside as {}", case.display());
    Ok(())
}

/// Writes a value that belongs to no message; it is the caller's to remove.
pub(crate) fn keep_value(shared: &Shared, id: QueueId, value: &[u8]) -> Result<(), StoreError> {
    let case = free_name(shared, OsStr::new(&id.to_string()));
    write_durably(&with_ending(&case, "content"), value)?;
    close_case(shared, &case, "a value that belongs to no message")
}

/// Moves away what is in `mess/`, but no body.
pub(crate) fn keep_stray(shared: &Shared, entry: &DirEntry) -> Result<(), StoreError> {
    let name = entry.file_name();
    let case = free_name(shared, &name);
    fs::rename(entry.path(), &case).map_err(|e| io_error("moving away", &entry.path(), e))?;
    close_case(shared, &case, "no file of the queue")?;
    warn!(target: "relayd", event = "corrupt", file = ?name,
        "corrupt: {name:?} in mess/ is no file of the queue; moved to {}", case.display());
    Ok(())
}

fn close_case(shared: &Shared, case: &Path, reason: &str) -> Result<(), StoreError> {
    let corrupt = shared.corrupt();
    write_durably(&with_ending(case, REASON), format!("{reason}\n").as_bytes())?;
    File::open(&corrupt)
        .and_then(|dir| dir.sync_data())
        .map_err(|e| io_error("syncing", &corrupt, e))?;
    shared.damaged.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// The first of `NAME`, `NAME.1`, `NAME.2` … that no file of another case has.
fn free_name(shared: &Shared, name: &OsStr) -> PathBuf {
    let mut case = shared.corrupt().join(name);
    let is_taken = |case: &Path| {
        let taken = |path: &Path| path.symlink_metadata().is_ok();
        taken(case)
            || ENDINGS
                .iter()
                .any(|ending| taken(&with_ending(case, ending)))
    };
    for number in 1u64.. {
        if !is_taken(&case) {
            break;
        }
        case = with_ending(&shared.corrupt().join(name), &number.to_string());
    }
    case
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(ending);
    name.into()
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = made.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()
    });
    written.map_err(|source| io_error("writing", path, source))
}
