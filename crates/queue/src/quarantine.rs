//! Moves damaged messages to `corrupt/`, for the operator to inspect.
//!
//! Each case has a file `NAME.reason`. For a message there are also files with what was found of
//! its record, content and body. If the name exists, a number is added: no file is ever
//! overwritten.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use relay_failpoint as failpoint;
use relay_message::{QueueId, StoreError};
use tracing::warn;

use crate::journal::Segment;
use crate::spool::io_error;
use crate::store_state::{Located, StoreState};

const REASON: &str = "reason";
const RECORD: &str = "record";
const CONTENT: &str = "content";
const BODY: &str = "body";
const ENDINGS: [&str; 4] = [REASON, RECORD, CONTENT, BODY];

/// What the journal has of a damaged message.
#[derive(Default)]
pub(crate) struct Evidence {
    record: Vec<u8>,
    content: Vec<u8>,
}

impl Evidence {
    pub(crate) fn new(record: Vec<u8>, content: Vec<u8>) -> Self {
        Self { record, content }
    }

    pub(crate) fn of(located: &Located) -> Self {
        let (record, content) = located.remains();
        Self::new(record, content)
    }
}

/// Counts the cases in `corrupt/`.
pub(crate) fn count(state: &StoreState) -> Result<u64, StoreError> {
    let corrupt = state.corrupt();
    let names = fs::read_dir(&corrupt)
        .map_err(|e| io_error("reading the directory", &corrupt, e))?
        .flatten();
    let is_reason = |name: &DirEntry| name.path().extension().is_some_and(|e| e == REASON);
    Ok(names.filter(is_reason).count() as u64)
}

/// Writes the values of a damaged message and the reason, and moves its body. All is durable on
/// return. The caller must remove the record. After an error nothing has moved.
pub(crate) fn keep(
    state: &StoreState,
    id: QueueId,
    evidence: &Evidence,
    reason: &str,
) -> Result<(), StoreError> {
    let case = free_name(state, OsStr::new(&id.to_string()));
    let body = state.body(id);
    let kept = write_evidence(&case, evidence)
        .and_then(|()| move_body(&body, &with_ending(&case, BODY)))
        .and_then(|()| close_case(state, &case, reason));
    if kept.is_err() {
        // If this fails too, a case without a reason is left.
        let _ = fs::rename(with_ending(&case, BODY), &body);
        for ending in [RECORD, CONTENT, REASON] {
            let _ = fs::remove_file(with_ending(&case, ending));
        }
    }
    kept?;
    failpoint::point("kept-aside");
    warn!(target: "relayd", event = "corrupt", %id, reason,
        "corrupt: message {id} is damaged ({reason}); set aside as {}", case.display());
    Ok(())
}

/// Logs that the message stays in place because `corrupt/` cannot be written. The relay goes on.
pub(crate) fn warn_of_staying(id: QueueId, reason: &str, error: &StoreError) {
    warn!(target: "relayd", event = "corrupt", %id, reason, error = %error,
        "corrupt: message {id} is damaged ({reason}) and cannot be set aside: {error}; it stays where it is");
}

fn write_evidence(case: &Path, evidence: &Evidence) -> Result<(), StoreError> {
    for (ending, value) in [(RECORD, &evidence.record), (CONTENT, &evidence.content)] {
        if !value.is_empty() {
            write_durably(&with_ending(case, ending), value)?;
        }
    }
    Ok(())
}

/// Moves the body file, if there is one.
fn move_body(body: &Path, to: &Path) -> Result<(), StoreError> {
    match failpoint::call("aside-rename").and_then(|()| fs::rename(body, to)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("moving", body, e)),
        _ => Ok(()),
    }
}

/// Writes a part of the journal that cannot be read. It stays where it is; if it is kept already,
/// this does nothing. Returns whether it is new.
pub(crate) fn keep_stretch(
    state: &StoreState,
    segment: &Segment,
    stretch: &Range<u32>,
) -> Result<bool, StoreError> {
    let name = format!("journal-{:08x}-{:08x}", segment.number, stretch.start);
    let case = state.corrupt().join(&name);
    if with_ending(&case, REASON).exists() {
        return Ok(false);
    }
    let mut octets = vec![0; stretch.len()];
    // What the file does not have any more stays zero.
    let _ = segment.read(&mut octets, u64::from(stretch.start));
    let _ = fs::remove_file(with_ending(&case, CONTENT));
    write_durably(&with_ending(&case, CONTENT), &octets)?;
    let reason = format!(
        "octets {} to {} of the segment cannot be read",
        stretch.start, stretch.end
    );
    close_case(state, &case, &reason)?;
    warn!(target: "relayd", event = "corrupt", segment = segment.number, reason,
        "corrupt: a part of the journal is damaged ({reason}); copied to {}", case.display());
    Ok(true)
}

/// Moves a segment of which nothing can be read.
pub(crate) fn keep_segment(state: &StoreState, path: &Path) -> Result<(), StoreError> {
    let name = format!("journal-{}", path.file_name().unwrap_or_default().display());
    let case = free_name(state, OsStr::new(&name));
    fs::rename(path, with_ending(&case, CONTENT)).map_err(|e| io_error("moving", path, e))?;
    let reason = "nothing in this segment of the journal can be read";
    close_case(state, &case, reason)?;
    warn!(target: "relayd", event = "corrupt", reason,
        "corrupt: {}: {reason}; moved to {}", path.display(), case.display());
    Ok(())
}

/// Moves a file or directory in `mess/` that is not a body.
pub(crate) fn keep_stray(state: &StoreState, entry: &DirEntry) -> Result<(), StoreError> {
    let (name, path) = (entry.file_name(), entry.path());
    let case = free_name(state, &name);
    fs::rename(&path, &case).map_err(|e| io_error("moving", &path, e))?;
    close_case(state, &case, "not a file of the queue")?;
    warn!(target: "relayd", event = "corrupt", file = ?name,
        "corrupt: {name:?} in mess/ is not a file of the queue; moved to {}", case.display());
    Ok(())
}

fn close_case(state: &StoreState, case: &Path, reason: &str) -> Result<(), StoreError> {
    let corrupt = state.corrupt();
    write_durably(&with_ending(case, REASON), format!("{reason}\n").as_bytes())?;
    File::open(&corrupt)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| io_error("syncing", &corrupt, e))?;
    state.damaged.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Returns the first of `NAME`, `NAME.1`, `NAME.2` … that no other case uses.
fn free_name(state: &StoreState, name: &OsStr) -> PathBuf {
    let mut case = state.corrupt().join(name);
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
        case = with_ending(&state.corrupt().join(name), &number.to_string());
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
    let mut file = made.map_err(|source| io_error("creating", path, source))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    written.map_err(|source| {
        // A partial file is of no use.
        let _ = fs::remove_file(path);
        io_error("writing", path, source)
    })
}
