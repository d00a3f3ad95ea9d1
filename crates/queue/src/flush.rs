//! sled's flush, which always returns.
//!
//! A thread of sled that fails to write notes the error, but on one of its two ways forgets to wake
//! who waits in a flush for that write: that one would wait for ever, and every client with it.
//! Another flush finds the error noted and wakes everybody. So a thread stands by that calls one for
//! each that takes longer than a [`TICK`]; where nothing has failed, it waits along with it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the thread looks; a flush that it sees twice is helped.
const TICK: Duration = Duration::from_millis(500);

/// Flushes one database. It has to be dropped for the database to be released.
#[derive(Debug)]
pub(crate) struct Flusher {
    db: sled::Db,
    counts: Arc<Counts>,
    /// `None` only while it is being dropped, which ends the thread.
    standing_by: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Counts {
    /// The number of the flush that is under way, if one is.
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

    /// Has sled write all that it has; one thread at a time calls this.
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
            // It panicked if at all with its message already printed.
            let _ = thread.join();
        }
    }
}

fn stand_by(db: &sled::Db, counts: &Counts, ended: &Receiver<()>) {
    let mut seen = None;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
        let under_way = counts.under_way();
        if under_way.is_some() && under_way == seen {
            // Its error is the other's too, who is told of it.
            let _ = db.flush();
        }
        seen = under_way;
    }
}
