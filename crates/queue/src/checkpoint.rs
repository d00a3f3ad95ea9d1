//! The index on disk: a sled database that tells a start where each message is.
//!
//! It has nothing that is not in the journal. If anything about it is wrong, it is thrown away and
//! built anew. So what is read from it is checked as a whole: the number of entries, and the sum of
//! their checksums. Damaged files can make sled go back to an earlier checkpoint without a word. That
//! does no harm, because the journal is read from that checkpoint on. If segments that it needs were
//! given up, the generation in the rounds tells that it is too old.
//!
//! Per message there is an entry under the queue id, and one *checkpoint* tells how far in the
//! journal they are. All changes of a checkpoint are one batch of sled, which is atomic across a
//! crash. sled's flush is `sync_file_range` on Linux, so our own `fdatasync` follows it.

mod flusher;

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use relay_failpoint as failpoint;
use relay_message::{QueueId, StoreError};
use serde::{Deserialize, Serialize};

use self::flusher::Flusher;
use crate::index::{Entry, Notes};
use crate::journal::Position;
use crate::record::Ledger;
use crate::spool::io_error;

/// The key of the checkpoint. Entries have keys of eight octets.
const CHECKPOINT: &[u8] = b"checkpoint";
/// The first octet of a checkpoint. A new layout gets a new number.
const VERSION: u8 = 1;
/// The octets of an entry.
const ENTRY: usize = 29;
/// The size of sled's page cache.
const CACHE: u64 = 8 << 20;
/// The most changes in one batch of sled. It keeps every version of a page that a batch makes until
/// its end.
const LARGEST_BATCH: usize = 8192;
/// Calls after which sled has freed what an earlier call left.
const CALLS: usize = 512;
/// How often, and at what interval, to try to open a database that is still held.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// How long opening may take: this, and some time for each megabyte.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_PER_MEGABYTE: Duration = Duration::from_millis(100);

/// How far the index has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    pub(crate) queue: u64,
    /// Rises with each checkpoint. The journal tells the lowest one that can still be used.
    pub(crate) generation: u64,
    /// Where in the journal it is.
    pub(crate) position: Position,
    pub(crate) ledger: Ledger,
    pub(crate) notes: Notes,
    pub(crate) last_id: Option<QueueId>,
}

/// Why the index on disk cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it is missing")]
    Missing,
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("opening it did not end")]
    Endless,
    #[error("it has no checkpoint")]
    Incomplete,
    #[error("its layout has version {0}")]
    Version(u8),
    #[error("a part of it is missing or damaged")]
    Mismatch,
    #[error("it belongs to another queue")]
    OtherQueue,
    #[error("it is older than the journal")]
    Outdated,
}

/// The open index.
#[derive(Debug)]
pub(crate) struct DiskIndex {
    /// `None` only during the drop.
    db: Option<(Flusher, sled::Db)>,
    file: File,
    totals: Totals,
}

/// What the entries add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    count: u64,
    sum: u64,
}

impl Totals {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum(key, value));
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum(key, value));
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(key);
    checksum.update(value);
    u64::from(checksum.finalize())
}

/// What an index has.
pub(crate) type Loaded = (DiskIndex, Checkpoint, Vec<(QueueId, Entry)>);

impl DiskIndex {
    /// Opens the index in this directory, and reads all of it.
    ///
    /// sled may do anything with damaged files: return an error, panic, or never return. So this
    /// happens on a thread of its own, which is left behind if it does not end.
    pub(crate) fn open(dir: &Path) -> Result<Loaded, Unusable> {
        if !dir.join("db").exists() {
            return Err(Unusable::Missing);
        }
        let patience = patience(dir);
        let (result, opened) = sync_channel(1);
        let dir = dir.to_owned();
        let work = move || {
            let read = catch_unwind(AssertUnwindSafe(|| Self::read(&dir)));
            let read = read.unwrap_or_else(|panic| Err(Unusable::Unreadable(text(&*panic))));
            // If nobody waits any more, a usable index is closed here.
            drop(result.send(read));
        };
        let started = thread::Builder::new().name("index".into()).spawn(work);
        started.map_err(|e| Unusable::Unreadable(e.to_string()))?;
        opened.recv_timeout(patience).unwrap_or_else(|e| match e {
            RecvTimeoutError::Timeout => Err(Unusable::Endless),
            RecvTimeoutError::Disconnected => Err(Unusable::Unreadable("no answer".into())),
        })
    }

    fn read(dir: &Path) -> Result<Loaded, Unusable> {
        let unreadable = |e: &dyn ToString| Unusable::Unreadable(e.to_string());
        remove_unfinished_snapshots(dir).map_err(|e| unreadable(&e))?;
        sync_what_is_there(&dir.join("db")).map_err(|e| unreadable(&e))?;
        let mut index = Self::connect(dir).map_err(|e| unreadable(&e))?;
        let (checkpoint, expected) = index.checkpoint()?;
        let (mut entries, mut totals) = (Vec::new(), Totals::default());
        for row in index.sled().iter() {
            let (key, value) = row.map_err(|e| unreadable(&e))?;
            if key == CHECKPOINT {
                continue;
            }
            totals.add(&key, &value);
            entries.push(decode(&key, &value).ok_or(Unusable::Mismatch)?);
        }
        if totals != expected {
            return Err(Unusable::Mismatch);
        }
        index.totals = totals;
        Ok((index, checkpoint, entries))
    }

    fn checkpoint(&self) -> Result<(Checkpoint, Totals), Unusable> {
        let stored = self.sled().get(CHECKPOINT);
        let stored = stored.map_err(|e| Unusable::Unreadable(e.to_string()))?;
        let octets = stored.ok_or(Unusable::Incomplete)?;
        let (&version, rest) = octets.split_first().ok_or(Unusable::Mismatch)?;
        if version != VERSION {
            return Err(Unusable::Version(version));
        }
        let stored: Stored = postcard::from_bytes(rest).map_err(|_| Unusable::Mismatch)?;
        stored.load().ok_or(Unusable::Mismatch)
    }

    /// Removes what is in the directory and makes an empty index. It cannot be used before its first
    /// checkpoint.
    pub(crate) fn create(dir: &Path) -> Result<Self, StoreError> {
        discard(dir).map_err(|e| io_error("removing", dir, e))?;
        let made = catch_unwind(AssertUnwindSafe(|| Self::connect(dir)));
        made.unwrap_or_else(|panic| Err(io::Error::other(text(&*panic))))
            .map_err(|e| io_error("making the index", dir, e))
    }

    fn connect(dir: &Path) -> io::Result<Self> {
        let config = sled::Config::new()
            .path(dir)
            .flush_every_ms(None)
            .cache_capacity(CACHE);
        let db = open_when_released(&config)?;
        let flusher = Flusher::start(&db)?;
        flusher.flush().map_err(io::Error::other)?;
        let file = File::open(dir.join("db"))?;
        file.sync_data()?;
        for name in ["conf", "blobs", "", ".."] {
            File::open(dir.join(name))?.sync_all()?;
        }
        Ok(Self {
            db: Some((flusher, db)),
            file,
            totals: Totals::default(),
        })
    }

    /// Writes entries of a new index, before its first checkpoint.
    pub(crate) fn fill(&mut self, entries: &[(QueueId, Entry)]) -> Result<(), StoreError> {
        self.guarded(|index| {
            // Not as a batch: an index without a checkpoint need not be consistent.
            for (id, entry) in entries {
                let (key, value) = (key(*id), encode(entry));
                index.totals.add(&key, &value);
                index.sled().insert(key, &value)?;
            }
            index.flusher().flush()?;
            Ok(())
        })
    }

    /// Makes the changes and the checkpoint durable together. `None` removes an entry.
    pub(crate) fn write(
        &mut self,
        changes: &[(QueueId, Option<Entry>)],
        checkpoint: &Checkpoint,
    ) -> Result<(), StoreError> {
        self.guarded(|index| {
            let mut batch = sled::Batch::default();
            if changes.len() > LARGEST_BATCH {
                index.change_without_checkpoint(changes)?;
            } else {
                for (id, entry) in changes {
                    index.change(&mut batch, *id, entry.as_ref())?;
                }
            }
            let stored = Stored::of(checkpoint, index.totals);
            let octets = postcard::to_extend(&stored, vec![VERSION]).map_err(io::Error::other)?;
            batch.insert(CHECKPOINT, octets);
            index.sled().apply_batch(batch)?;
            index.free_old_pages()?;
            index.flusher().flush()?;
            failpoint::call("index-sync")?;
            index.file.sync_data()?;
            Ok(())
        })
    }

    /// Makes many changes one by one. A crash meanwhile leaves an index without a checkpoint, which a
    /// start builds anew.
    fn change_without_checkpoint(
        &mut self,
        changes: &[(QueueId, Option<Entry>)],
    ) -> sled::Result<()> {
        self.sled().remove(CHECKPOINT)?;
        self.flusher().flush()?;
        for (id, entry) in changes {
            let key = key(*id);
            let old = match entry {
                Some(entry) => {
                    let value = encode(entry);
                    self.totals.add(&key, &value);
                    self.sled().insert(key, &value)?
                }
                None => self.sled().remove(key)?,
            };
            if let Some(old) = old {
                self.totals.remove(&key, &old);
            }
        }
        Ok(())
    }

    /// sled frees the old versions of pages only after a number of calls, and a batch counts as one
    /// call. Without this, the versions of a hundred batches would stay in memory.
    fn free_old_pages(&self) -> sled::Result<()> {
        for _ in 0..CALLS {
            self.sled().get(CHECKPOINT)?;
        }
        Ok(())
    }

    fn change(
        &mut self,
        batch: &mut sled::Batch,
        id: QueueId,
        entry: Option<&Entry>,
    ) -> sled::Result<()> {
        let key = key(id);
        if let Some(old) = self.sled().get(key)? {
            self.totals.remove(&key, &old);
        }
        if let Some(entry) = entry {
            let value = encode(entry);
            self.totals.add(&key, &value);
            batch.insert(&key, &value);
        } else {
            batch.remove(&key);
        }
        Ok(())
    }

    fn guarded(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<(), StoreError> {
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        let done = done.unwrap_or_else(|panic| Err(io::Error::other(text(&*panic)).into()));
        done.map_err(|e| StoreError::Database {
            doing: "writing the index of the queue".to_owned(),
            reason: e.to_string(),
        })
    }

    fn sled(&self) -> &sled::Db {
        let (_, db) = self.db.as_ref().expect("only drop takes it");
        db
    }

    fn flusher(&self) -> &Flusher {
        let (flusher, _) = self.db.as_ref().expect("only drop takes it");
        flusher
    }
}

impl Drop for DiskIndex {
    fn drop(&mut self) {
        // sled syncs its file once more when its last handle is dropped, and panics if that fails.
        let handles = self.db.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handles)));
    }
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Sled(#[from] sled::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn key(id: QueueId) -> [u8; 8] {
    id.to_bits().to_be_bytes()
}

fn encode(entry: &Entry) -> [u8; ENTRY] {
    let numbers = [
        entry.record.segment,
        entry.record.offset,
        entry.record_length,
        entry.content.segment,
        entry.content.offset,
        entry.content_length,
        entry.outstanding,
    ];
    let mut octets = [0; ENTRY];
    for (place, number) in octets.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    octets[ENTRY - 1] = entry.stored_flags();
    octets
}

fn decode(key: &[u8], value: &[u8]) -> Option<(QueueId, Entry)> {
    let id = u64::from_be_bytes(key.try_into().ok()?);
    let value: &[u8; ENTRY] = value.try_into().ok()?;
    let number = |n: usize| {
        let taken = value[4 * n..].first_chunk().copied();
        u32::from_le_bytes(taken.unwrap_or_default())
    };
    let position = |n| Position {
        segment: number(n),
        offset: number(n + 1),
    };
    let entry = Entry {
        record: position(0),
        record_length: number(2),
        content: position(3),
        content_length: number(5),
        outstanding: number(6),
        flags: value[ENTRY - 1],
    };
    Some((QueueId::from_bits(id), entry))
}

/// The layout of a checkpoint.
#[derive(Serialize, Deserialize)]
struct Stored {
    queue: u64,
    generation: u64,
    segment: u32,
    offset: u32,
    ledger: Vec<u8>,
    notes: Vec<(u64, Vec<u8>)>,
    last_id: Option<u64>,
    count: u64,
    sum: u64,
}

impl Stored {
    fn of(checkpoint: &Checkpoint, totals: Totals) -> Self {
        let notes = checkpoint.notes.iter();
        Self {
            queue: checkpoint.queue,
            generation: checkpoint.generation,
            segment: checkpoint.position.segment,
            offset: checkpoint.position.offset,
            ledger: checkpoint.ledger.encode(),
            notes: notes.map(|(&n, value)| (n, value.to_vec())).collect(),
            last_id: checkpoint.last_id.map(QueueId::to_bits),
            count: totals.count,
            sum: totals.sum,
        }
    }

    fn load(self) -> Option<(Checkpoint, Totals)> {
        let notes = self.notes.into_iter();
        let checkpoint = Checkpoint {
            queue: self.queue,
            generation: self.generation,
            position: Position {
                segment: self.segment,
                offset: self.offset,
            },
            ledger: Ledger::decode(&self.ledger)?,
            notes: notes.map(|(n, value)| (n, Bytes::from(value))).collect(),
            last_id: self.last_id.map(QueueId::from_bits),
        };
        let totals = Totals {
            count: self.count,
            sum: self.sum,
        };
        Some((checkpoint, totals))
    }
}

fn patience(dir: &Path) -> Duration {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let octets: u64 = names
        .flat_map(|name| name.metadata())
        .map(|m| m.len())
        .sum();
    let megabytes = u32::try_from(octets >> 20).unwrap_or(u32::MAX);
    PATIENCE.saturating_add(PATIENCE_PER_MEGABYTE.saturating_mul(megabytes))
}

/// We hold the lock of the state directory. So if sled's lock is held, it is held by a thread of sled
/// that still uses the database from before.
pub(crate) fn open_when_released(config: &sled::Config) -> io::Result<sled::Db> {
    let mut tries = 0;
    loop {
        match config.open() {
            Err(e) if tries < TRIES && e.to_string().contains("could not acquire lock") => {
                tries += 1;
                thread::sleep(PAUSE);
            }
            opened => return opened.map_err(io::Error::other),
        }
    }
}

/// A killed relayd may have moved pages without a sync. sled writes zeros over the old copies when
/// it opens, so the new copies must be durable before that.
fn sync_what_is_there(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_data()
}

/// An interrupted start may leave a file `snap.ID.generating`, which sled takes for a snapshot.
pub(crate) fn remove_unfinished_snapshots(dir: &Path) -> io::Result<()> {
    for name in fs::read_dir(dir)?.flatten() {
        let path = name.path();
        if path.extension().is_some_and(|e| e == "generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes an index that cannot be used. A part of sled that did not end may still have its files
/// open, so they get another name first.
fn discard(dir: &Path) -> io::Result<()> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let aside: PathBuf = dir.with_file_name(format!("{name}.unusable"));
    for dir in [aside.as_path(), dir] {
        if let Err(e) = fs::rename(dir, &aside)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e);
        }
        match fs::remove_dir_all(&aside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!(
        "the database panicked: {}",
        text.unwrap_or("no reason given")
    )
}

#[cfg(test)]
mod tests;
