//! sled's flush, which always returns.
//!
//! When a thread of sled fails to write, it stores the error, but on one of two code paths it does
//! not wake the thread that waits in a flush for that write. That thread would wait forever, and so
//! would every client. A second flush finds the stored error and wakes all waiting threads. So a
//! helper thread calls a second flush when one takes longer than a [`TICK`]. If nothing has failed,
//! the second flush only waits too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the thread checks. If it sees the same flush twice, it calls a second one.
const TICK: Duration = Duration::from_millis(500);

/// Flushes one database. The database is released only after this is dropped.
#[derive(Debug)]
pub(crate) struct Flusher {
    db: sled::Db,
    counts: Arc<Counts>,
    /// `None` only during the drop. Dropping the sender ends the thread.
    standing_by: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Counts {
    /// Returns the number of the current flush, if there is one.
    fn under_way(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::Acquire);
        (begun != self.ended.load(Ordering::Acquire)).then_some(begun)
    }
}

impl Flusher {
    pub(crate) fn start(db: &sled::Db) -> io::Result<Self> {
        let (standing_by, ended) = sync_channel(0);
        let counts = Arc::<Counts>::default();
        let help = {
            let (db, counts) = (db.clone(), Arc::clone(&counts));
            move || stand_by(&db, &counts, &ended)
        };
        let thread = thread::Builder::new().name("flusher".into()).spawn(help)?;
        Ok(Self {
            db: db.clone(),
            counts,
            standing_by: Some(standing_by),
            thread: Some(thread),
        })
    }

    /// Makes sled write all its data. Only one thread at a time may call this.
    pub(crate) fn flush(&self) -> sled::Result<()> {
        self.counts.begun.fetch_add(1, Ordering::AcqRel);
        let flushed = self.db.flush();
        self.counts.ended.fetch_add(1, Ordering::AcqRel);
        flushed.map(drop)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.standing_by = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, its message is already printed.
            let _ = thread.join();
        }
    }
}

fn stand_by(db: &sled::Db, counts: &Counts, ended: &Receiver<()>) {
    let mut seen = None;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
        let under_way = counts.under_way();
        if under_way.is_some() && under_way == seen {
            // The other flush returns the same error.
            let _ = db.flush();
        }
        seen = under_way;
    }
}
