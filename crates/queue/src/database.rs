//! Makes sled durable. Only this module knows how sled's files reach the disk. The crate's page
//! explains why this is enough.

mod flusher;

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use relay_failpoint as failpoint;
use relay_message::{QueueId, StoreError};
use rustix::fs::{Advice, fadvise};
use tracing::warn;

use self::flusher::Flusher;
use crate::chunks::{BOOKS, Changes, Chunk, ValueKind, id_of, is_continued};
use crate::record::Ledger;
use crate::spool::io_error;

/// The size of sled's page cache. Only this and sled's table of pages stay in memory.
const CACHE: u64 = 16 * 1024 * 1024;
/// How many octets sled may write during reads before they are synced. This is far less than the
/// two segments between the new copy of a page and the reuse of the old one.
const UNSYNCED: i64 = 256 * 1024;
/// The lowest and the highest id.
const FIRST: QueueId = QueueId::from_bits(0);
const LAST: QueueId = QueueId::from_bits(u64::MAX);
/// How often, and at what interval, to try to open a database that our own readers still hold.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// The open database, and our own handle of its file. The `fdatasync` of the handle is the commit.
#[derive(Debug)]
pub(crate) struct Database {
    /// `None` only during the drop.
    table: Option<Table>,
    /// The same.
    flusher: Option<Flusher>,
    mess: File,
    #[cfg(test)]
    pub(crate) faults: tests::Faults,
}

/// The values, for readers.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    db: sled::Db,
    file: Arc<File>,
    /// The position in sled's log up to which `file` is synced.
    synced: Arc<AtomicI64>,
    /// A batch is atomic across a crash, but not for readers. A reader of a value of several chunks
    /// holds this lock, so that all chunks are from the same batch.
    applying: Arc<RwLock<()>>,
}

impl Database {
    /// Opens the database, or creates it, and makes its directories durable.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let dir = state_dir.join("queue");
        remove_unfinished_snapshots(&dir)?;
        sync_what_is_there(&dir.join("db"))?;
        let db = open_when_released(&dir)?;
        let flusher = Flusher::start(&db)
            .map_err(|e| io_error("starting", Path::new("the flusher's thread"), e))?;
        flusher
            .flush()
            .map_err(|e| database_error("opening", &dir, &e))?;
        let file = open_for_sync(&dir.join("db"))?;
        sync_data(&file, &dir.join("db"))?;
        for name in ["conf", "blobs", "", ".."] {
            let path = dir.join(name);
            sync_all(&open_for_sync(&path)?, &path)?;
        }
        let mess = open_for_sync(&state_dir.join("mess"))?;
        let synced = Arc::new(AtomicI64::new(db.context.pagecache.log.stable_offset()));
        let table = Table {
            db,
            file: Arc::new(file),
            synced,
            applying: Arc::default(),
        };
        Ok(Self {
            table: Some(table),
            flusher: Some(flusher),
            mess,
            #[cfg(test)]
            faults: tests::Faults::default(),
        })
    }

    /// Opens the database again after an error, and reads only what is on the disk.
    ///
    /// Linux (ext4 and XFS) marks a cached page as clean after a failed write. No later sync writes
    /// the page or reports the error, and readers see data that the disk does not have. sled may
    /// have moved records to such a page that were accepted long ago, and would reuse their old
    /// places. So the cache is dropped first; the old copies are still on the disk. A directory
    /// does not need this: a file system that failed to write its journal accepts no more writes.
    ///
    /// No test covers this: it needs a device whose writes fail while its file system continues.
    pub(crate) fn reopen(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join("queue").join("db");
        // Dirty pages are written first: the kernel only drops clean ones.
        sync_what_is_there(&path)?;
        if let Ok(file) = File::open(&path) {
            fadvise(&file, 0, None, Advice::DontNeed)
                .map_err(|e| io_error("dropping the cache of", &path, e.into()))?;
        }
        Self::open(state_dir)
    }

    pub(crate) fn table(&self) -> &Table {
        self.table.as_ref().expect("only drop takes it")
    }

    /// Applies the changes and returns when they would survive a power loss.
    pub(crate) fn commit(&self, changes: Changes, has_new_files: bool) -> Result<(), StoreError> {
        let (table, queue) = (self.table(), Path::new("the queue"));
        if has_new_files {
            let mess = Path::new("mess");
            failpoint::call("directory-sync").map_err(|e| io_error("syncing", mess, e))?;
            sync_all(&self.mess, mess)?;
            failpoint::point("directory-synced");
        }
        // Segments that sled reuses during the batch had their pages moved before it. The new
        // copies must be durable now.
        table.sync_beyond(0)?;
        let is_leaving = changes.is_leaving();
        self.step(CommitStep::Apply, is_leaving)?;
        let applying = table
            .applying
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        table
            .db
            .apply_batch(changes.into_batch())
            .map_err(|e| database_error("writing to", queue, &e))?;
        drop(applying);
        self.step(CommitStep::Flush, is_leaving)?;
        let flusher = self.flusher.as_ref().expect("only drop takes it");
        flusher
            .flush()
            .map_err(|e| database_error("flushing", queue, &e))?;
        self.step(CommitStep::Sync, is_leaving)?;
        table.sync()?;
        self.step(CommitStep::Answer, is_leaving)
    }

    /// A point at which a test can make the commit fail or the process end.
    #[cfg_attr(not(test), expect(clippy::unused_self, clippy::unnecessary_wraps))]
    fn step(&self, step: CommitStep, is_leaving: bool) -> Result<(), StoreError> {
        let (point, leaving) = match step {
            CommitStep::Apply => ("applying", "leave-applying"),
            CommitStep::Flush => ("applied", "leave-applied"),
            CommitStep::Sync => ("flushed", "leave-flushed"),
            CommitStep::Answer => ("synced", "leave-synced"),
        };
        failpoint::point(point);
        if is_leaving {
            failpoint::point(leaving);
        }
        #[cfg(test)]
        return self.faults.pass(step);
        #[cfg(not(test))]
        Ok(())
    }
}

/// The next step of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitStep {
    Apply,
    Flush,
    Sync,
    Answer,
}

impl Drop for Database {
    fn drop(&mut self) {
        // sled syncs its file once more when its last handle is dropped, and panics if that fails.
        // It does fail when the database is closed because of a failed sync.
        let handles = (self.flusher.take(), self.table.take());
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handles)));
    }
}

impl Table {
    /// Returns a value, joined from its chunks. If chunks at the end are missing, it is shorter.
    pub(crate) fn get(
        &self,
        kind: ValueKind,
        id: QueueId,
    ) -> Result<Option<sled::IVec>, StoreError> {
        let first = self.chunk(&kind.key(id))?;
        match first {
            Some(chunk) if is_continued(&chunk) => self.join(kind, id),
            other => Ok(other),
        }
    }

    fn join(&self, kind: ValueKind, id: QueueId) -> Result<Option<sled::IVec>, StoreError> {
        let _quiet = self.applying.read().unwrap_or_else(PoisonError::into_inner);
        let Some(mut chunk) = self.chunk(&kind.key(id))? else {
            return Ok(None);
        };
        let (mut value, mut number) = (chunk.to_vec(), 0);
        while is_continued(&chunk) {
            number += 1;
            let Some(next) = self.chunk(&kind.further_key(id, number))? else {
                break;
            };
            value.extend_from_slice(&next);
            chunk = next;
        }
        Ok(Some(value.into()))
    }

    /// Returns the books, or `None` if there are none or they cannot be read.
    pub(crate) fn ledger(&self) -> Result<Option<Ledger>, StoreError> {
        let stored = self.chunk(BOOKS)?;
        let ledger = stored.as_ref().and_then(|bytes| Ledger::decode(bytes));
        if stored.is_some() && ledger.is_none() {
            warn!(target: "relayd", event = "corrupt",
                "corrupt: the books of the queue cannot be read; they restart with the current queue");
        }
        Ok(ledger)
    }

    fn chunk(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        let found = self.db.get(key);
        found.map_err(|e| database_error("reading", Path::new("the queue"), &e))
    }

    /// Returns the lowest and the highest id of a record.
    pub(crate) fn ends(&self) -> Result<Option<(QueueId, QueueId)>, StoreError> {
        let rows = self
            .db
            .range(ValueKind::Record.key(FIRST)..=ValueKind::Record.key(LAST));
        let mut ids = rows.filter_map(|row| match row {
            Err(e) => Some(Err(database_error("reading", Path::new("the queue"), &e))),
            Ok((key, _)) => id_of(&key).map(Ok),
        });
        let (first, last) = (ids.next().transpose()?, ids.next_back().transpose()?);
        Ok(first.map(|first| (first, last.unwrap_or(first))))
    }

    /// Returns the records above `after`, in the order of their ids.
    pub(crate) fn records(
        &self,
        after: Option<QueueId>,
    ) -> impl Iterator<Item = Result<(QueueId, sled::IVec), StoreError>> + '_ {
        let from = after.map_or(Bound::Included(FIRST), Bound::Excluded);
        self.records_of((from, Bound::Included(LAST)))
    }

    /// Returns the records with these ids, in the order of their ids.
    pub(crate) fn records_of(
        &self,
        ids: (Bound<QueueId>, Bound<QueueId>),
    ) -> impl Iterator<Item = Result<(QueueId, sled::IVec), StoreError>> + '_ {
        let (from, to) = ids;
        let key = |id| ValueKind::Record.key(id);
        let rows = self.db.range((from.map(key), to.map(key)));
        rows.filter_map(|row| match row {
            Err(e) => Some(Err(database_error("reading", Path::new("the queue"), &e))),
            Ok((key, first)) => {
                let id = id_of(&key)?;
                if is_continued(&first) {
                    // The message may have left in the meantime.
                    let whole = self.get(ValueKind::Record, id).transpose()?;
                    return Some(whole.map(|value| (id, value)));
                }
                Some(Ok((id, first)))
            }
        })
    }

    /// Returns all chunks except the first chunks of records, with their keys.
    pub(crate) fn beside_records(
        &self,
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), StoreError>> + '_ {
        let is_record = |key: &[u8]| key.first() == Some(&ValueKind::Record.first());
        let rows = self
            .db
            .iter()
            .map(|row| row.map_err(|e| database_error("reading", Path::new("the queue"), &e)));
        rows.filter(move |row| !row.as_ref().is_ok_and(|(key, _)| is_record(key)))
    }

    /// Returns whether the chunk before this one exists and is continued; for the first chunk of a
    /// content, whether its record exists.
    pub(crate) fn has_what_it_follows(&self, chunk: Chunk) -> Result<bool, StoreError> {
        match chunk.before() {
            Some(before) => Ok(self
                .chunk(&before.key())?
                .is_some_and(|chunk| is_continued(&chunk))),
            None => Ok(self.chunk(&ValueKind::Record.key(chunk.id))?.is_some()),
        }
    }

    /// A long scan must call this regularly: sled also rewrites pages during a read, if they are
    /// too full or too empty.
    pub(crate) fn sync_if_much_was_written(&self) -> Result<(), StoreError> {
        self.sync_beyond(UNSYNCED)
    }

    fn sync_beyond(&self, bound: i64) -> Result<(), StoreError> {
        let written = self.db.context.pagecache.log.stable_offset();
        if written - self.synced.load(Ordering::Acquire) > bound {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let written = self.db.context.pagecache.log.stable_offset();
        let queue = Path::new("the queue");
        failpoint::call("database-sync").map_err(|e| io_error("syncing", queue, e))?;
        if !failpoint::leaves_out("fdatasync") {
            sync_data(&self.file, queue)?;
        }
        self.synced.fetch_max(written, Ordering::AcqRel);
        Ok(())
    }
}

/// A killed relayd may have moved pages without a sync. sled writes zeros over the old copies when
/// it opens, so the new copies must be durable before that.
fn sync_what_is_there(path: &Path) -> Result<(), StoreError> {
    match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => {
            let file = opened.map_err(|source| io_error("opening", path, source))?;
            sync_data(&file, path)
        }
    }
}

/// An interrupted start may leave a file `snap.ID.generating`. sled takes it for a snapshot, finds
/// it incomplete, and does not open any more. The data it was made from is still there.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StoreError> {
    let names = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(|e| io_error("reading the directory", dir, e))?,
    };
    for name in names.flatten() {
        let path = name.path();
        if path.extension().is_some_and(|e| e == "generating") {
            fs::remove_file(&path).map_err(|e| io_error("removing", &path, e))?;
        }
    }
    Ok(())
}

/// We hold the lock of the state directory. So if sled's lock is held, it is held by our own reader
/// or by a thread of sled that still uses the database from before.
fn open_when_released(dir: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(dir)
        .flush_every_ms(None)
        .cache_capacity(CACHE);
    let mut tries = 0;
    loop {
        match config.open() {
            Err(e) if tries < TRIES && e.to_string().contains("could not acquire lock") => {
                tries += 1;
                thread::sleep(PAUSE);
            }
            opened => return opened.map_err(|e| database_error("opening", dir, &e)),
        }
    }
}

/// sled panics on some kinds of damage to its file. A panic is treated like any other error: the
/// database is closed, and opened again when that is possible.
pub(crate) fn panics_as_errors<T>(
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("no reason given");
        Err(StoreError::Database {
            doing: "working with the queue".to_owned(),
            reason: format!("the database panicked: {text}"),
        })
    })
}

fn open_for_sync(path: &Path) -> Result<File, StoreError> {
    File::open(path).map_err(|source| io_error("opening", path, source))
}

fn sync_data(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_data()
        .map_err(|source| io_error("syncing", path, source))
}

/// For directories: only fsync is documented to make their entries durable.
fn sync_all(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_all()
        .map_err(|source| io_error("syncing", path, source))
}

fn database_error(doing: &str, path: &Path, error: &sled::Error) -> StoreError {
    StoreError::Database {
        doing: format!("{doing} {}", path.display()),
        reason: error.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// The step at which the next commit fails, for all databases of one store.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Faults {
        at: Arc<Mutex<Option<(CommitStep, Fault)>>>,
    }

    #[derive(Debug, Clone, Copy)]
    enum Fault {
        Error,
        Panic,
    }

    impl Faults {
        pub(crate) fn fail_at(&self, step: CommitStep) {
            self.set(step, Fault::Error);
        }

        /// As sled panics on some kinds of damage.
        pub(crate) fn panic_at(&self, step: CommitStep) {
            self.set(step, Fault::Panic);
        }

        fn set(&self, step: CommitStep, fault: Fault) {
            *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some((step, fault));
        }

        pub(super) fn pass(&self, step: CommitStep) -> Result<(), StoreError> {
            let chosen = {
                let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
                at.take_if(|(at, _)| *at == step)
            };
            match chosen {
                None => Ok(()),
                Some((_, Fault::Panic)) => panic!("injected panic"),
                Some((_, Fault::Error)) => {
                    let source = io::Error::other("injected fault");
                    Err(io_error("syncing", Path::new("the queue"), source))
                }
            }
        }
    }
}
