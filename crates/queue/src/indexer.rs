//! Brings the index on disk up to date, behind the commit.
//!
//! A *checkpoint* writes what has changed since the last one, and how far in the journal the index is.
//! A start reads the journal from there. Mail that leaves before the next checkpoint never enters the
//! index on disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use relay_failpoint as failpoint;
use relay_message::StoreError;
use tracing::warn;

use crate::checkpoint::{Checkpoint, DiskIndex};
use crate::journal::Position;
use crate::spool::io_error;
use crate::store_state::StoreState;

/// The longest time between a change and its checkpoint.
const PERIOD: Duration = Duration::from_secs(5);
/// How many entries of a new index are written at a time.
const PAGE: usize = 2048;

/// The thread that writes the index.
#[derive(Debug)]
pub(crate) struct Indexer {
    requests: SyncSender<Request>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Checkpoint,
    Finish,
}

impl Indexer {
    /// Starts the thread. Without an index it makes a new one.
    pub(crate) fn start(
        state: Arc<StoreState>,
        queue: u64,
        disk: Option<DiskIndex>,
        position: Position,
    ) -> Result<Self, StoreError> {
        // One request waits at most: a second one would find nothing to do.
        let (requests, receiver) = sync_channel(1);
        let work = Work {
            state,
            queue,
            disk,
            position,
            has_failed: false,
        };
        let thread = thread::Builder::new()
            .name("indexer".into())
            .spawn(move || work.run(&receiver))
            .map_err(|e| io_error("starting", "the indexer's thread".as_ref(), e))?;
        Ok(Self { requests, thread })
    }

    /// Asks for a checkpoint soon.
    pub(crate) fn checkpoint_soon(&self) {
        match self.requests.try_send(Request::Checkpoint) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// Writes the last checkpoint and waits for it. No change of the index follows.
    pub(crate) fn finish(self) {
        let _ = self.requests.send(Request::Finish);
        let _ = self.thread.join();
    }
}

struct Work {
    state: Arc<StoreState>,
    queue: u64,
    /// `None` if there is no usable index.
    disk: Option<DiskIndex>,
    /// Where the latest checkpoint is.
    position: Position,
    /// Whether the last attempt has failed, so that the log tells it once.
    has_failed: bool,
}

impl Work {
    fn run(mut self, requests: &Receiver<Request>) {
        if self.disk.is_none() {
            self.checkpoint();
        }
        loop {
            match requests.recv_timeout(PERIOD) {
                Ok(Request::Checkpoint) | Err(RecvTimeoutError::Timeout) => {
                    if self.disk.is_none() || self.state.index().end != self.position {
                        self.checkpoint();
                    }
                }
                Ok(Request::Finish) => return self.checkpoint(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn checkpoint(&mut self) {
        let written = match self.disk.take() {
            Some(disk) => self.write(disk),
            None => self.write_anew(),
        };
        let has_failed = std::mem::replace(&mut self.has_failed, written.is_err());
        match written {
            Ok(disk) => self.disk = Some(disk),
            Err(e) => {
                self.state.update_checkpoints(|known| {
                    known.segment = None;
                    known.required = known.written + 1;
                });
                if !has_failed {
                    warn!(target: "relayd", event = "index", error = %e,
                        "the index of the queue cannot be written: {e}; it is built anew when that \
                         is possible; no mail is in danger");
                }
            }
        }
    }

    fn write(&mut self, mut disk: DiskIndex) -> Result<DiskIndex, StoreError> {
        let (changes, checkpoint) = {
            let mut index = self.state.index_mut();
            let known = self.state.checkpoints();
            let checkpoint = Checkpoint {
                queue: self.queue,
                generation: known.required.max(known.written + 1),
                position: index.end,
                ledger: index.ledger,
                notes: index.notes.clone(),
                last_id: index.last_id(),
            };
            (index.take_changes(), checkpoint)
        };
        failpoint::point("checkpoint");
        disk.write(&changes, &checkpoint)?;
        failpoint::point("checkpoint-written");
        self.position = checkpoint.position;
        self.state.update_checkpoints(|known| {
            known.written = checkpoint.generation;
            known.required = known.required.max(checkpoint.generation);
            known.segment = Some(checkpoint.position.segment);
        });
        Ok(disk)
    }

    fn write_anew(&mut self) -> Result<DiskIndex, StoreError> {
        let mut disk = DiskIndex::create(&self.state.state_dir.join("index"))?;
        let mut after = None;
        loop {
            let page = self.state.index_mut().take_page(after, PAGE);
            let Some(&(last, _)) = page.last() else {
                break;
            };
            disk.fill(&page)?;
            failpoint::point("index-filling");
            after = Some(last);
        }
        self.write(disk)
    }
}
