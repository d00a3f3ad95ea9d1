//! The committer: the one thread that writes to the journal.
//!
//! It takes all waiting operations, appends them as one round, makes the round durable and then
//! answers: *group commit*. A single client is not delayed; many clients share one sync.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use relay_failpoint as failpoint;
use relay_message::{Audit, QueueId, StoreError};
use tracing::{error, info, warn};

use crate::batch::{Batch, Staged};
use crate::cleaner::{self, Cleaner, Moved, Step};
use crate::index::Index;
use crate::indexer::Indexer;
use crate::journal::{Appended, Journal, Position, Round};
use crate::operation::{Answer, Operation};
use crate::quarantine;
use crate::record::Ledger;
use crate::round_state::RoundState;
use crate::spool::io_error;
use crate::store_state::{Access, StoreState};

/// How long an operation that is not urgent waits to share the sync of a commit.
const LINGER: Duration = Duration::from_millis(10);
/// The most operations in a round. This limits how long the first one waits.
const MOST_OPERATIONS: usize = 512;
/// About how many octets of content a round has at most.
const MOST_OCTETS: usize = 8 << 20;
/// How many changes the index on disk may lack before a checkpoint. sled keeps every version of a page
/// that one batch makes until its end, so a large batch takes much memory.
const MOST_CHANGES: usize = 2048;
/// How long to wait before a failed journal is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 1000 });
/// How often to look for segments to give up while no operation waits.
const CLEANING: Duration = Duration::from_millis(100);

/// Starts the thread. It ends at [`Operation::Close`] or when the sender is dropped. It closes the
/// journal and the index first, then `lock`.
pub(crate) fn start(
    writer: Writer,
    indexer: Indexer,
    lock: File,
) -> Result<(Sender<Operation>, JoinHandle<()>), StoreError> {
    let (sender, receiver) = channel();
    let committer = Committer {
        writer,
        indexer,
        cleaner: Cleaner::default(),
        doubtful: None,
        failed_at: None,
        lock,
    };
    let thread = thread::Builder::new()
        .name("committer".into())
        .spawn(move || committer.run(&receiver))
        .map_err(|source| io_error("starting", Path::new("the committer's thread"), source))?;
    Ok((sender, thread))
}

/// Writes rounds, and enters them into the index when they are durable.
pub(crate) struct Writer {
    state: Arc<StoreState>,
    journal: Journal,
    mess: File,
    round: Round,
    /// The generation in the latest round.
    generation: u64,
    #[cfg(test)]
    pub(crate) faults: tests::Faults,
}

impl Writer {
    pub(crate) fn new(state: Arc<StoreState>, journal: Journal) -> Result<Self, StoreError> {
        let mess = state.mess();
        let opened = File::open(&mess).map_err(|e| io_error("opening", &mess, e))?;
        Ok(Self {
            state,
            journal,
            mess: opened,
            round: Round::default(),
            generation: 0,
            #[cfg(test)]
            faults: tests::Faults::default(),
        })
    }

    #[cfg(test)]
    pub(crate) fn with_segments_of(&mut self, size: u32) {
        self.journal.set_segment_size(size);
    }

    /// Returns where the journal ends.
    pub(crate) fn last(&self) -> Position {
        self.journal.last()
    }

    /// Makes a batch durable. Its operations are not answered yet.
    pub(crate) fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if batch.has_new_files() {
            let mess = Path::new("mess");
            failpoint::call("directory-sync").map_err(|e| io_error("syncing", mess, e))?;
            self.mess
                .sync_all()
                .map_err(|e| io_error("syncing", mess, e))?;
            failpoint::point("directory-synced");
        }
        self.round.clear();
        let staged = batch.stage(&mut self.round);
        self.append(batch.ledger, |index, appended| {
            batch.enter_into(index, &staged, appended);
        })
    }

    /// Appends messages anew, to free the segment in which they are.
    pub(crate) fn move_messages(&mut self, ids: &[QueueId]) -> Result<Moved, StoreError> {
        self.round.clear();
        let moved = cleaner::stage(&self.state, ids, &mut self.round);
        if !moved.staged.is_empty() {
            failpoint::point("moving");
            let ledger = self.state.index().ledger;
            self.append(ledger, |index, appended| {
                let enter = |staged: &Staged| staged.enter_into(index, appended);
                moved.staged.iter().for_each(enter);
            })?;
        }
        Ok(moved)
    }

    /// Appends the round with these books. When it is durable, its changes and where it ends enter the
    /// index together: a checkpoint in between would miss the changes.
    fn append(
        &mut self,
        ledger: Ledger,
        enter: impl FnOnce(&mut Index, &Appended),
    ) -> Result<(), StoreError> {
        let generation = self.state.checkpoints().required;
        let state = RoundState { generation, ledger }.encode();
        self.round.end(&state);
        #[cfg(test)]
        self.faults.pass(tests::Moment::Before)?;
        failpoint::point("appending");
        let opening = || self.state.opening_round();
        let appended = self.journal.append(&mut self.round, opening);
        let appended = appended.map_err(|e| io_error("writing", Path::new("the journal"), e))?;
        #[cfg(test)]
        self.faults.pass(tests::Moment::After)?;
        failpoint::point("synced");
        self.generation = generation;
        let mut index = self.state.index_mut();
        let segment = &appended.segment;
        let known = index.segments.entry(segment.number);
        known.or_insert_with(|| Arc::clone(segment));
        enter(&mut index, &appended);
        index.ledger = ledger;
        index.end = self.journal.last();
        Ok(())
    }

    /// Gives up the oldest segment. An index on disk that needs it must not be used any more, so the
    /// journal has to say so before.
    pub(crate) fn give_up(&mut self, number: u32) -> Result<(), StoreError> {
        if self.generation < self.state.checkpoints().required {
            let ledger = self.state.index().ledger;
            self.write(&Batch::new(ledger))?;
        }
        self.state.index_mut().drop_segment(number);
        if let Err(e) = self.journal.give_up(number) {
            warn!(target: "relayd", event = "journal", error = %e,
                "the segment {number:08x} of the journal, which is not needed, cannot be removed: {e}");
        }
        Ok(())
    }

    pub(crate) fn close(self) {
        if let Err(e) = self.journal.close() {
            warn!(target: "relayd", event = "journal", error = %e,
                "the end of the journal cannot be cut: {e}; it only takes more room than needed");
        }
    }
}

struct Committer {
    writer: Writer,
    indexer: Indexer,
    cleaner: Cleaner,
    /// The batch that failed. It is written again before any other.
    doubtful: Option<Batch>,
    failed_at: Option<Instant>,
    lock: File,
}

impl Committer {
    fn run(mut self, operations: &Receiver<Operation>) {
        let mut is_cleaning = true;
        while let Some(batch) = self.next_batch(operations, is_cleaning) {
            let (mut closing, mut audits) = (None, Vec::new());
            let mut work = Vec::with_capacity(batch.len());
            for operation in batch {
                match operation {
                    Operation::Close(answer) => closing = Some(answer),
                    Operation::Audit(answer) => audits.push(answer),
                    other => work.push(other),
                }
            }
            if !work.is_empty() {
                self.handle_batch(work);
            }
            for answer in audits {
                let _ = answer.send(self.audit());
            }
            if let Some(answer) = closing {
                return self.close(Some(answer));
            }
            is_cleaning = self.failed_at.is_none() && self.clean();
        }
        self.close(None);
    }

    /// Returns `None` at the end, and no operation if it is time to clean. While the journal fails,
    /// this keeps trying to write, even if there is no operation: until that succeeds, clients only
    /// get errors.
    fn next_batch(
        &mut self,
        operations: &Receiver<Operation>,
        is_cleaning: bool,
    ) -> Option<Vec<Operation>> {
        while self.failed_at.is_some() {
            match operations.recv_timeout(RETRY_AFTER) {
                Ok(first) => return Some(gather(first, operations)),
                Err(RecvTimeoutError::Timeout) => drop(self.recover()),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        if !is_cleaning {
            let first = operations.recv().ok()?;
            return Some(gather(first, operations));
        }
        match operations.recv_timeout(CLEANING) {
            Ok(first) => Some(gather(first, operations)),
            Err(RecvTimeoutError::Timeout) => Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn close(mut self, answer: Option<Answer<()>>) {
        let state = Arc::clone(&self.writer.state);
        state.set_access(Access::Closed);
        if let Some(batch) = self.doubtful {
            batch.abandon("it was shut down while the journal could not be written");
        } else if self.writer.journal.is_open() {
            // A round behind the last one shows that the last one was durable.
            let last = Batch::new(state.index().ledger);
            if let Err(e) = self.writer.write(&last) {
                warn!(target: "relayd", event = "journal", error = %e,
                    "the journal cannot be closed with a last round: {e}");
            }
        }
        self.indexer.finish();
        self.writer.close();
        state.remover.finish();
        drop(self.lock);
        if let Some(answer) = answer {
            let _ = answer.send(Ok(()));
        }
    }

    fn handle_batch(&mut self, work: Vec<Operation>) {
        if let Err(e) = self.recover() {
            let reason = e.to_string();
            return work.into_iter().for_each(|op| op.refuse(&reason));
        }
        let state = Arc::clone(&self.writer.state);
        let mut batch = Batch::new(state.index().ledger);
        for operation in work {
            batch.apply(operation, &state);
        }
        self.commit(batch);
    }

    fn commit(&mut self, batch: Batch) {
        let before = self.writer.last().segment;
        let written = if batch.is_empty() {
            Ok(())
        } else {
            self.writer.write(&batch)
        };
        match written {
            Ok(()) => batch.succeed(&self.writer.state),
            Err(e) => self.fail(batch, &e),
        }
        let is_new_segment = self.writer.last().segment != before;
        if is_new_segment || self.writer.state.index().changes() >= MOST_CHANGES {
            self.indexer.checkpoint_soon();
        }
    }

    /// Runs on the only thread that writes, so that the books and the queue are consistent.
    fn audit(&mut self) -> Result<Audit, StoreError> {
        self.recover()?;
        let index = self.writer.state.index();
        Ok(Audit {
            books: index.ledger.books,
            queued: index.outstanding(),
        })
    }

    fn fail(&mut self, mut batch: Batch, e: &StoreError) {
        error!(target: "relayd", event = "queue error", error = %e,
            "queue error: {e}; clients get 451 until the queue can be written again");
        self.writer.state.set_access(Access::Failed);
        batch.refuse_commits(&e.to_string());
        self.doubtful = Some(batch);
        self.failed_at = Some(now());
    }

    /// Writes the batch that failed, at most once a second. A batch that failed without a change
    /// is written too, to see whether the journal can be written again.
    fn recover(&mut self) -> Result<(), StoreError> {
        let Some(failed_at) = self.failed_at else {
            return Ok(());
        };
        if now() - failed_at < RETRY_AFTER {
            return Err(StoreError::Closed {
                reason: "an error closed it a moment ago".to_owned(),
            });
        }
        self.failed_at = Some(now());
        let batch = self.doubtful.take().unwrap_or_default();
        if let Err(e) = self.writer.write(&batch) {
            self.doubtful = Some(batch);
            return Err(StoreError::Closed {
                reason: e.to_string(),
            });
        }
        self.writer.state.set_access(Access::Open);
        batch.succeed(&self.writer.state);
        self.failed_at = None;
        info!(target: "relayd", event = "queue open", "the queue is open again");
        Ok(())
    }

    /// Does one step of cleaning. Returns whether there may be another one.
    fn clean(&mut self) -> bool {
        let current = self.writer.last().segment;
        let state = Arc::clone(&self.writer.state);
        let size = self.writer.journal.segment_size();
        let done = match self.cleaner.next_step(&state, current, size) {
            Step::Rest => return false,
            Step::AwaitCheckpoint => {
                self.indexer.checkpoint_soon();
                return true;
            }
            Step::GiveUp(number) => self.writer.give_up(number).map(|()| Moved::default()),
            Step::Move(ids) => self.writer.move_messages(&ids),
        };
        match done {
            Ok(moved) => {
                if let Some(e) = &moved.unreadable {
                    self.cleaner.stop(e);
                }
                if !moved.damaged.is_empty() {
                    self.set_aside(moved.damaged);
                }
            }
            Err(e) => self.fail(Batch::new(state.index().ledger), &e),
        }
        true
    }

    fn set_aside(&mut self, damaged: Vec<(QueueId, String)>) {
        let batch = set_aside(damaged, &self.writer.state);
        self.commit(batch);
    }
}

/// Moves damaged messages to `corrupt/`. The batch removes them from the queue.
pub(crate) fn set_aside(damaged: Vec<(QueueId, String)>, state: &StoreState) -> Batch {
    let mut batch = Batch::new(state.index().ledger);
    for (id, reason) in damaged {
        if let Err(e) = batch.quarantine(id, &reason, state) {
            quarantine::warn_of_staying(id, &reason, &e);
        }
    }
    batch
}

/// The clock for the committer's own pauses. No decision about a message depends on it.
#[expect(
    clippy::disallowed_methods,
    reason = "paces the committer's own thread only"
)]
fn now() -> Instant {
    Instant::now()
}

/// Collects the operations of the next round. If none is urgent, this waits up to [`LINGER`] for
/// more.
fn gather(first: Operation, operations: &Receiver<Operation>) -> Vec<Operation> {
    let mut is_urgent = first.is_urgent();
    let mut octets = first.octets();
    let mut batch = vec![first];
    let until = now() + LINGER;
    while batch.len() < MOST_OPERATIONS && octets < MOST_OCTETS {
        let next = if is_urgent {
            operations.try_recv().ok()
        } else {
            let left = until.saturating_duration_since(now());
            operations.recv_timeout(left).ok()
        };
        let Some(operation) = next else {
            break;
        };
        is_urgent |= operation.is_urgent();
        octets += operation.octets();
        batch.push(operation);
    }
    batch
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// The moment at which the next append fails.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Moment {
        /// Nothing was written.
        Before,
        /// The round is durable.
        After,
    }

    /// Makes appends fail, for all handles of one store.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Faults {
        at: Arc<Mutex<Option<Moment>>>,
    }

    impl Faults {
        pub(crate) fn fail_at(&self, moment: Moment) {
            *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
        }

        pub(super) fn pass(&self, moment: Moment) -> Result<(), StoreError> {
            let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
            if at.take_if(|at| *at == moment).is_none() {
                return Ok(());
            }
            let source = io::Error::other("injected fault");
            Err(io_error("syncing", Path::new("the queue"), source))
        }
    }
}
