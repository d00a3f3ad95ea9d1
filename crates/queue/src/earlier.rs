//! Reads a queue of the earlier layout, in which a sled database had the records and contents.
//!
//! | key | value |
//! |---|---|
//! | `m` ID | the record of a message |
//! | `c` ID | its content: the head, and the body unless that is in a file |
//! | `n` ID NUMBER, `d` ID NUMBER | further chunks of the same |
//! | `books` | the books |
//!
//! Numbers are big-endian, of eight and four octets. A value is split into chunks. After a chunk of
//! exactly [`CHUNK_SIZE`] octets comes another one, which may be empty.

use std::cell::Cell;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use relay_message::{QueueId, StoreError};
use tracing::warn;

use crate::checkpoint::{open_when_released, remove_unfinished_snapshots};
use crate::record::{Ledger, refuse_later};
use crate::spool::io_error;

/// The octets of a chunk that is not the last.
const CHUNK_SIZE: usize = 5 * 1024;
/// Octets that a value can have: the largest record and head are far below.
const LONGEST: usize = 256 << 20;
const BOOKS: &[u8] = b"books";
const CACHE: u64 = 16 << 20;
/// How many octets sled may write during reads before they are synced. This is less than a segment.
const UNSYNCED: i64 = 256 << 10;

/// What a value contains.
#[derive(Debug, Clone, Copy)]
enum ValueKind {
    Record,
    Content,
}

impl ValueKind {
    const fn first(self) -> u8 {
        match self {
            Self::Record => b'm',
            Self::Content => b'c',
        }
    }

    const fn further(self) -> u8 {
        match self {
            Self::Record => b'n',
            Self::Content => b'd',
        }
    }

    fn key(self, id: QueueId, number: u32) -> Vec<u8> {
        let id = id.to_bits().to_be_bytes();
        match number {
            0 => [&[self.first()][..], &id].concat(),
            _ => [&[self.further()][..], &id, &number.to_be_bytes()].concat(),
        }
    }
}

/// Returns the directory of the database.
pub(crate) fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("queue")
}

/// Whether there is a queue of the earlier layout, or what is left of one. Without its file `db` it
/// cannot be opened, but it must not pass for an empty queue: then its bodies would be removed.
pub(crate) fn is_there(state_dir: &Path) -> bool {
    fs::read_dir(directory(state_dir)).is_ok_and(|mut names| names.next().is_some())
}

/// An open queue of the earlier layout.
pub(crate) struct Earlier {
    /// `None` only during the drop.
    db: Option<sled::Db>,
    dir: PathBuf,
    file: File,
    /// The position in sled's log up to which `file` is synced.
    synced: Cell<i64>,
}

/// A message as it is stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EarlierMessage {
    pub(crate) id: QueueId,
    pub(crate) record: Vec<u8>,
    /// The head, followed by the body if that is not in a file.
    pub(crate) content: Vec<u8>,
}

impl Earlier {
    /// Opens the database. sled panics on some kinds of damage; that is an error here.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let dir = directory(state_dir);
        // sled takes what an interrupted start has left for a whole snapshot, and does not open.
        remove_unfinished_snapshots(&dir)
            .map_err(|e| io_error("removing unfinished snapshots in", &dir, e))?;
        let path = dir.join("db");
        let file = File::open(&path).map_err(|e| failed(&dir, &format!("opening db: {e}")))?;
        // A killed relayd may have moved pages without a sync, and sled clears their old places.
        sync(&file, &dir)?;
        let config = sled::Config::new()
            .path(&dir)
            .flush_every_ms(None)
            .cache_capacity(CACHE);
        let db = guarded(&dir, || {
            open_when_released(&config).map_err(sled::Error::Io)
        })?;
        let earlier = Self {
            db: Some(db),
            dir,
            file,
            synced: Cell::new(0),
        };
        earlier.sync_what_was_written(0)?;
        Ok(earlier)
    }

    /// Returns the books, or `None` if there are none or they cannot be read.
    pub(crate) fn ledger(&self) -> Result<Option<Ledger>, StoreError> {
        let stored = guarded(&self.dir, || self.db().get(BOOKS))?;
        let ledger = stored.as_ref().and_then(|octets| Ledger::decode(octets));
        if stored.is_some() && ledger.is_none() {
            warn!(target: "relayd", event = "corrupt",
                "corrupt: the books of the queue cannot be read; they restart with the current queue");
        }
        Ok(ledger)
    }

    /// Returns the ids of all messages, in their order.
    pub(crate) fn ids(&self) -> Result<Vec<QueueId>, StoreError> {
        guarded(&self.dir, || {
            let rows = self.db().scan_prefix([ValueKind::Record.first()]).keys();
            let ids = rows.filter_map(|key| key.map(|key| id_of(&key)).transpose());
            ids.collect()
        })
    }

    /// Returns a message, or `None` if there is none with this id. If chunks are missing, its values
    /// are shorter than they were. Fails if a later relayd wrote it.
    pub(crate) fn message(&self, id: QueueId) -> Result<Option<EarlierMessage>, StoreError> {
        let value = |kind| guarded(&self.dir, || self.value(kind, id));
        let Some(record) = value(ValueKind::Record)? else {
            return Ok(None);
        };
        refuse_later(id, &record)?;
        let content = value(ValueKind::Content)?.unwrap_or_default();
        self.sync_what_was_written(UNSYNCED)?;
        Ok(Some(EarlierMessage {
            id,
            record,
            content,
        }))
    }

    fn value(&self, kind: ValueKind, id: QueueId) -> sled::Result<Option<Vec<u8>>> {
        let Some(mut chunk) = self.db().get(kind.key(id, 0))? else {
            return Ok(None);
        };
        let (mut value, mut number) = (chunk.to_vec(), 0);
        while chunk.len() == CHUNK_SIZE && value.len() < LONGEST {
            number += 1;
            let Some(next) = self.db().get(kind.key(id, number))? else {
                break;
            };
            value.extend_from_slice(&next);
            chunk = next;
        }
        Ok(Some(value))
    }

    /// sled also moves pages during a read, and reuses their old places later. After a power loss
    /// the new copies must be there, because the queue is then read again.
    fn sync_what_was_written(&self, bound: i64) -> Result<(), StoreError> {
        let written = self.db().context.pagecache.log.stable_offset();
        if written - self.synced.get() > bound {
            sync(&self.file, &self.dir)?;
            self.synced.set(written);
        }
        Ok(())
    }

    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("only drop takes it")
    }
}

impl Drop for Earlier {
    fn drop(&mut self) {
        // sled syncs its file when it is dropped, and panics if that fails.
        let db = self.db.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(db)));
    }
}

fn id_of(key: &[u8]) -> Option<QueueId> {
    let (_, bits) = key.split_first()?;
    let bits = u64::from_be_bytes(bits.try_into().ok()?);
    Some(QueueId::from_bits(bits))
}

fn guarded<T>(dir: &Path, work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let done = catch_unwind(AssertUnwindSafe(work));
    let reason = match done {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(e)) => e.to_string(),
        Err(_) => "the database panicked".to_owned(),
    };
    Err(failed(dir, &reason))
}

fn sync(file: &File, dir: &Path) -> Result<(), StoreError> {
    file.sync_data()
        .map_err(|e| io_error("syncing", &dir.join("db"), e))
}

fn failed(dir: &Path, reason: &str) -> StoreError {
    StoreError::Database {
        doing: format!(
            "taking over the queue of the earlier layout in {}",
            dir.display()
        ),
        reason: format!(
            "{reason}; run fsck --repair of the relayd that wrote it, or move the directory away \
             to start without its mail"
        ),
    }
}

/// Writes a queue of the earlier layout.
#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds a message as the earlier relayd wrote it.
    pub(crate) fn write(db: &sled::Db, message: &EarlierMessage) {
        let values = [
            (ValueKind::Record, &message.record),
            (ValueKind::Content, &message.content),
        ];
        for (kind, value) in values {
            if value.is_empty() {
                continue;
            }
            let mut chunks: Vec<&[u8]> = value.chunks(CHUNK_SIZE).collect();
            if value.len().is_multiple_of(CHUNK_SIZE) {
                chunks.push(b"");
            }
            for (chunk, number) in chunks.into_iter().zip(0..) {
                db.insert(kind.key(message.id, number), chunk)
                    .expect("written");
            }
        }
    }

    /// Makes a queue of the earlier layout.
    pub(crate) fn make(state_dir: &Path, messages: &[EarlierMessage], ledger: &Ledger) {
        let db = sled::open(directory(state_dir)).expect("opened");
        for message in messages {
            write(&db, message);
        }
        db.insert(BOOKS, ledger.encode()).expect("written");
        db.flush().expect("flushed");
    }

    fn message(bits: u64, record: usize, content: usize) -> EarlierMessage {
        EarlierMessage {
            id: QueueId::from_bits(bits),
            record: vec![2; record],
            content: vec![7; content],
        }
    }

    #[test]
    fn values_of_any_length_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let lengths = [
            (1, 0),
            (CHUNK_SIZE - 1, 1),
            (CHUNK_SIZE, CHUNK_SIZE),
            (CHUNK_SIZE + 1, 3 * CHUNK_SIZE),
            (300, 8 * 1024),
        ];
        let messages: Vec<_> = (1..)
            .zip(lengths)
            .map(|(bits, (record, content))| message(bits, record, content))
            .collect();
        let ledger = Ledger::default();
        make(dir.path(), &messages, &ledger);
        assert!(is_there(dir.path()));
        let earlier = Earlier::open(dir.path()).expect("opens");
        assert_eq!(earlier.ledger().expect("read"), Some(ledger));
        let ids = earlier.ids().expect("read");
        let read = ids.into_iter().map(|id| earlier.message(id).expect("read"));
        assert_eq!(read.flatten().collect::<Vec<_>>(), messages);
        let none = earlier.message(QueueId::from_bits(99)).expect("read");
        assert_eq!(none, None);
    }

    #[test]
    fn a_missing_chunk_makes_a_value_shorter() {
        let dir = tempfile::tempdir().expect("a directory");
        make(
            dir.path(),
            &[message(1, 10, 3 * CHUNK_SIZE)],
            &Ledger::default(),
        );
        let earlier = Earlier::open(dir.path()).expect("opens");
        let key = ValueKind::Content.key(QueueId::from_bits(1), 2);
        earlier.db().remove(key).expect("removed");
        let read = earlier.message(QueueId::from_bits(1)).expect("read");
        assert_eq!(read.expect("there").content.len(), 2 * CHUNK_SIZE);
    }

    #[test]
    fn a_record_of_a_later_relayd_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut later = message(1, 10, 0);
        later.record[0] = 200;
        make(dir.path(), &[later], &Ledger::default());
        let earlier = Earlier::open(dir.path()).expect("opens");
        assert!(earlier.message(QueueId::from_bits(1)).is_err());
    }

    #[test]
    fn an_unfinished_snapshot_does_not_stop_the_opening() {
        let dir = tempfile::tempdir().expect("a directory");
        make(dir.path(), &[message(1, 10, 10)], &Ledger::default());
        let snapshot = directory(dir.path()).join("snap.FFFFFFFFFFFFFFFF.generating");
        fs::write(&snapshot, b"a part").expect("written");
        let earlier = Earlier::open(dir.path()).expect("opens");
        assert_eq!(earlier.ids().expect("read").len(), 1);
        assert!(!snapshot.exists());
    }

    #[test]
    fn a_queue_without_its_file_is_an_error_and_an_empty_directory_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(!is_there(dir.path()));
        fs::create_dir(directory(dir.path())).expect("made");
        assert!(!is_there(dir.path()));
        make(dir.path(), &[message(1, 10, 10)], &Ledger::default());
        fs::remove_file(directory(dir.path()).join("db")).expect("removed");
        assert!(is_there(dir.path()));
        let refused = Earlier::open(dir.path()).err().expect("refused");
        assert!(refused.to_string().contains("fsck"), "{refused}");
        assert!(!directory(dir.path()).join("db").exists());
    }

    #[test]
    fn what_sled_writes_during_reads_is_synced() {
        let dir = tempfile::tempdir().expect("a directory");
        let spread = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let messages: Vec<_> = (1..=1500).map(|n| message(spread(n), 300, 4000)).collect();
        make(dir.path(), &messages, &Ledger::default());
        let earlier = Earlier::open(dir.path()).expect("opens");
        let at = |earlier: &Earlier| earlier.db().context.pagecache.log.stable_offset();
        let opened = at(&earlier);
        for id in earlier.ids().expect("read") {
            earlier.message(id).expect("read");
        }
        // Now nothing is left that a thread of sled may write later.
        earlier.db().flush().expect("flushed");
        let written = at(&earlier) - opened;
        assert!(written > UNSYNCED, "the reads wrote only {written}");
        earlier.message(messages[0].id).expect("read");
        assert!(at(&earlier) - earlier.synced.get() <= UNSYNCED);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn damaged_files_never_cause_a_panic(file in prop::sample::select(vec!["db", "conf"]), at in any::<usize>(), by in 1..=255u8) {
            let dir = tempfile::tempdir().expect("a directory");
            make(dir.path(), &[message(1, 10, 9000), message(2, 300, 10)], &Ledger::default());
            let path = directory(dir.path()).join(file);
            let mut octets = fs::read(&path).expect("read");
            let used = octets.iter().rposition(|&c| c != 0).unwrap_or(0) + 1;
            octets[at % used] ^= by;
            fs::write(&path, octets).expect("written");
            if let Ok(earlier) = Earlier::open(dir.path()) {
                for id in earlier.ids().unwrap_or_default() {
                    let _ = earlier.message(id);
                }
            }
        }
    }
}
