//! The committer: the one thread that writes to the database.
//!
//! It takes all waiting operations, applies them as one atomic batch, makes the batch durable and
//! then answers: *group commit*. A single client is not delayed; many clients share the two syncs.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use relay_message::{Audit, StoreError};
use tracing::{error, info};

use crate::batch::Batch;
use crate::database::{Database, panics_as_errors};
use crate::operation::{Answer, Operation};
use crate::spool::io_error;
use crate::store_state::{Access, StoreState};
use crate::sweep;

/// How long an operation that is not urgent waits to share the sync of a commit.
const LINGER: Duration = Duration::from_millis(10);
/// The most operations in a batch. This limits how long the first one waits.
const LONGEST_BATCH: usize = 512;
/// How long to wait before a failed database is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 1000 });

/// Why the database is closed.
#[derive(Debug, thiserror::Error)]
enum NotOpen {
    /// It was closed less than [`REOPEN_AFTER`] ago.
    #[error("an error closed it a moment ago")]
    Paused,
    /// It cannot be opened again.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl From<NotOpen> for StoreError {
    fn from(reason: NotOpen) -> Self {
        Self::Closed {
            reason: reason.to_string(),
        }
    }
}

/// Starts the thread. It ends at [`Operation::Close`] or when the sender is dropped. It closes the
/// database first, then `lock`.
pub(crate) fn start(
    state: Arc<StoreState>,
    database: Database,
    lock: File,
) -> Result<(Sender<Operation>, JoinHandle<()>), StoreError> {
    let (sender, receiver) = channel();
    state.set_access(Access::Open(database.table().clone()));
    let committer = Committer {
        state,
        database: Some(database),
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

struct Committer {
    state: Arc<StoreState>,
    database: Option<Database>,
    /// The batch that failed. It is written again before any other.
    doubtful: Option<Batch>,
    failed_at: Option<Instant>,
    lock: File,
}

impl Committer {
    fn run(mut self, operations: &Receiver<Operation>) {
        while let Some(batch) = self.next_batch(operations) {
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
        }
        self.close(None);
    }

    /// Returns `None` at the end. While the database is closed, this keeps trying to open it, even
    /// if there is no operation: until it is open, clients only get errors.
    fn next_batch(&mut self, operations: &Receiver<Operation>) -> Option<Vec<Operation>> {
        while self.database.is_none() {
            match operations.recv_timeout(REOPEN_AFTER) {
                Ok(first) => return Some(gather(first, operations)),
                Err(RecvTimeoutError::Timeout) => self.database = self.ensure_open().ok(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        let first = operations.recv().ok()?;
        Some(gather(first, operations))
    }

    fn close(self, answer: Option<Answer<()>>) {
        self.state.set_access(Access::Closed);
        if let Some(batch) = self.doubtful {
            batch.abandon("it was shut down while an error kept it closed");
        }
        drop(self.database);
        self.state.remover.finish();
        drop(self.lock);
        if let Some(answer) = answer {
            let _ = answer.send(Ok(()));
        }
    }

    fn handle_batch(&mut self, work: Vec<Operation>) {
        let database = match self.ensure_open() {
            Ok(database) => database,
            Err(reason) => {
                let reason = reason.to_string();
                return work.into_iter().for_each(|op| op.refuse(&reason));
            }
        };
        let mut batch = Batch::new(self.state.ledger());
        let mut left = work.into_iter();
        let committed = panics_as_errors(|| {
            left.try_for_each(|op| batch.apply(op, database.table(), &self.state))?;
            database.commit(batch.changes(), batch.has_new_files())
        });
        match committed {
            Ok(()) => {
                self.database = Some(database);
                batch.succeed(&self.state);
            }
            Err(e) => {
                self.fail(database, batch, &e);
                left.for_each(|op| op.refuse(&e.to_string()));
            }
        }
    }

    /// Runs on the only thread that writes, so that the books and the records are consistent.
    fn audit(&mut self) -> Result<Audit, StoreError> {
        let database = self.ensure_open()?;
        let queued = panics_as_errors(|| sweep::count_outstanding(database.table()));
        self.database = Some(database);
        Ok(Audit {
            books: self.state.ledger().books,
            queued: queued?,
        })
    }

    fn fail(&mut self, database: Database, mut batch: Batch, e: &StoreError) {
        error!(target: "relayd", event = "queue error", error = %e,
            "queue error: {e}; clients get 451 until the queue is open again");
        self.state.set_access(Access::Failed);
        batch.refuse_commits(&e.to_string());
        self.doubtful = Some(batch);
        self.failed_at = Some(now());
        drop(database);
    }

    /// Opens the database again after an error, at most once a second.
    fn ensure_open(&mut self) -> Result<Database, NotOpen> {
        if let Some(database) = self.database.take() {
            return Ok(database);
        }
        if self.failed_at.is_some_and(|at| now() - at < REOPEN_AFTER) {
            return Err(NotOpen::Paused);
        }
        let reopened = panics_as_errors(|| {
            let database = Database::reopen(&self.state.state_dir)?;
            if let Some(batch) = &self.doubtful {
                database.commit(batch.changes(), batch.has_new_files())?;
            }
            Ok(database)
        });
        let database = reopened.inspect_err(|_| self.failed_at = Some(now()))?;
        let table = database.table().clone();
        self.state.set_access(Access::Open(table));
        if let Some(batch) = self.doubtful.take() {
            batch.succeed(&self.state);
        }
        self.failed_at = None;
        info!(target: "relayd", event = "queue open", "the queue is open again");
        Ok(database)
    }
}

/// The clock for the committer's own pauses. No decision about a message depends on it.
#[expect(
    clippy::disallowed_methods,
    reason = "paces the committer's own thread only"
)]
fn now() -> Instant {
    Instant::now()
}

/// Collects the operations of the next batch. If none is urgent, this waits up to [`LINGER`] for
/// more.
fn gather(first: Operation, operations: &Receiver<Operation>) -> Vec<Operation> {
    let mut is_urgent = first.is_urgent();
    let mut batch = vec![first];
    let until = now() + LINGER;
    while batch.len() < LONGEST_BATCH {
        if is_urgent {
            match operations.try_recv() {
                Ok(operation) => batch.push(operation),
                Err(_) => break,
            }
        } else {
            match operations.recv_timeout(until.saturating_duration_since(now())) {
                Ok(operation) => {
                    is_urgent |= operation.is_urgent();
                    batch.push(operation);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }
    batch
}
