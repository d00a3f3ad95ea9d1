//! Takes a queue of the earlier layout over, at the first start.
//!
//! | step | `queue/` | `queue.taken-over/` | `journal.new/` | `journal/` |
//! |---|---|---|---|---|
//! | before | yes | – | maybe a part; it is thrown away | – |
//! | 1. everything is in the new journal, and durable | yes | – | whole | – |
//! | 2. the old queue is renamed: from now on the new one counts | – | yes | whole | – |
//! | 3. the new one gets its name | – | yes | – | yes |
//! | 4. the old one is removed | – | – | – | yes |
//!
//! A start after a crash continues with the next step. Body files stay where they are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use relay_failpoint as failpoint;
use relay_message::{Books, QueueId, StoreError};
use tracing::{info, warn};

use crate::batch::Batch;
use crate::committer::Writer;
use crate::earlier::{self, Earlier, EarlierMessage};
use crate::index::Index;
use crate::journal::{self, Journal, Position};
use crate::quarantine::{self, Evidence};
use crate::record::{ContentPlace, Ledger, Record};
use crate::remover::Remover;
use crate::spool::{JournalContent, Prepared, io_error};
use crate::state_dir::make_dir;
use crate::store_state::StoreState;

/// About how many octets are written as one round.
const ROUND: usize = 4 << 20;

/// The directories that take part.
struct Places {
    state_dir: PathBuf,
    old: PathBuf,
    old_done: PathBuf,
    new: PathBuf,
    journal: PathBuf,
}

/// Takes over a queue of the earlier layout, if there is one. Returns whether there was.
pub(crate) fn run(state_dir: &Path) -> Result<bool, StoreError> {
    let places = Places {
        state_dir: state_dir.to_owned(),
        old: earlier::directory(state_dir),
        old_done: state_dir.join("queue.taken-over"),
        new: state_dir.join("journal.new"),
        journal: journal::directory(state_dir),
    };
    let is_there = earlier::is_there(state_dir);
    if is_there && (places.journal.exists() || places.old_done.exists()) {
        return Err(StoreError::Database {
            doing: format!("opening the queue in {}", state_dir.display()),
            reason: format!(
                "there is another one of the earlier layout in {}: an earlier relayd ran here after \
                 the queue was taken over. Move that directory to a state_dir of its own, and \
                 bring its mail here with the export of the earlier relayd and relayd import",
                places.old.display()
            ),
        });
    }
    if is_there {
        remove(&places.new)?;
        take_over(&places)?;
        failpoint::point("taken-over");
        rename(&places.old, &places.old_done, state_dir)?;
    }
    if places.old_done.exists() {
        failpoint::point("takeover-renamed");
        if !places.journal.exists() {
            rename(&places.new, &places.journal, state_dir)?;
        }
        failpoint::point("takeover-named");
        remove(&places.old_done)?;
    }
    Ok(is_there)
}

fn take_over(places: &Places) -> Result<(), StoreError> {
    make_dir(&places.new)?;
    let remover = Remover::start().map_err(|e| io_error("starting", Path::new("a thread"), e))?;
    let state = StoreState::new(places.state_dir.clone(), remover, Index::default());
    let state = Arc::new(state);
    let journal = Journal::new(places.new.clone(), fastrand::u64(..), Position::default());
    let journal = journal.map_err(|e| io_error("opening", &places.new, e))?;
    let mut writer = Writer::new(Arc::clone(&state), journal)?;
    let earlier = Earlier::open(&places.state_dir)?;
    let (mut batch, mut octets, mut outstanding) = (Batch::default(), 0, 0);
    let (mut messages, mut damaged) = (0u64, 0u64);
    for id in earlier.ids()? {
        let Some(message) = earlier.message(id)? else {
            continue;
        };
        octets += message.record.len() + message.content.len();
        match convert(&message) {
            Ok((record, prepared)) => {
                messages += 1;
                outstanding += record.message.outstanding();
                batch.enter(record.message, prepared);
            }
            Err(reason) => {
                damaged += 1;
                let evidence = Evidence::new(message.record, message.content);
                quarantine::keep(&state, id, &evidence, &reason)?;
            }
        }
        if octets >= ROUND {
            writer.write(&batch)?;
            failpoint::point("taking-over");
            (batch, octets) = (Batch::default(), 0);
        }
    }
    let stored = earlier.ledger()?;
    let missing = stored.map_or(0, |l| l.books.queued().saturating_sub(outstanding));
    if missing > 0 {
        keep_bodies_without_records(&state, &batch, missing)?;
    }
    batch.ledger = ledger(stored, outstanding);
    // The last round has the books of all messages.
    writer.write(&batch)?;
    writer.close();
    info!(target: "relayd", event = "taken over", messages, damaged,
        "taken over: the queue of the earlier layout, messages={messages} damaged={damaged}");
    Ok(())
}

/// The books have recipients that no record has, so the database may have lost records. The bodies
/// may be all that is left of their messages, and a start would remove them.
fn keep_bodies_without_records(
    state: &StoreState,
    last: &Batch,
    missing: u64,
) -> Result<(), StoreError> {
    warn!(target: "relayd", event = "corrupt", recipients = missing,
        "corrupt: the books of the queue that is taken over have {missing} recipients more than its \
         records; they are counted as set aside, and bodies without a record are moved to corrupt/");
    let mess = state.mess();
    let names = fs::read_dir(&mess).map_err(|e| io_error("reading the directory", &mess, e))?;
    for name in names.flatten() {
        let name = name.file_name();
        let id = name.to_str().and_then(|name| name.parse::<QueueId>().ok());
        let is_known = |id| state.index().get(id).is_some() || last.has(id);
        if let Some(id) = id.filter(|&id| !is_known(id)) {
            let reason = "a body without a record, while the books miss recipients";
            quarantine::keep(state, id, &Evidence::default(), reason)?;
        }
    }
    Ok(())
}

/// Returns the books to continue with. Recipients of unreadable messages count as set aside.
fn ledger(stored: Option<Ledger>, outstanding: u64) -> Ledger {
    let mut books = stored.map_or_else(Books::default, |ledger| ledger.books);
    books.balance(outstanding);
    Ledger {
        books,
        is_short: false,
    }
}

/// Returns the record and the content in the order of the journal: the body before the head.
fn convert(message: &EarlierMessage) -> Result<(Record, Prepared), String> {
    let record = Record::decode(message.id, &message.record).map_err(|e| e.to_string())?;
    let layout = record.layout;
    let stored = Bytes::copy_from_slice(&message.content);
    let (head, body) = match layout.place {
        ContentPlace::Journal => {
            if stored.len() as u64 != layout.size() {
                return Err("its content does not have the length in its record".to_owned());
            }
            let head = usize::try_from(layout.head).map_err(|e| e.to_string())?;
            (stored.slice(..head), stored.slice(head..))
        }
        ContentPlace::BodyFile => (stored, Bytes::new()),
        ContentPlace::WholeFile => (Bytes::new(), Bytes::new()),
    };
    let prepared = Prepared {
        layout,
        content: JournalContent::new(body, head),
        file: None,
    };
    Ok((record, prepared))
}

fn rename(from: &Path, to: &Path, state_dir: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| io_error("renaming", from, e))?;
    let synced = File::open(state_dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| io_error("syncing", state_dir, e))
}

fn remove(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("removing", dir, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
