//! The queue on disk: records and small bodies are in sled, larger bodies in files.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::SystemTime;

use bytes::Bytes;
use relay_message::{
    Audit, Books, Claim, Content, Envelope, HoldResult, Message, NewMessage, Origin, QueueId,
    QueueStore, Settlement, Spool, StoreError,
};
use tokio::sync::oneshot;

use crate::chunks::ValueKind;
use crate::committer;
use crate::content;
use crate::database::{Database, Table, panics_as_errors};
use crate::disk_space::DiskSpace;
use crate::id_source::IdSource;
use crate::operation::{Operation, Settle};
use crate::record::{Record, RecordError};
use crate::remover::Remover;
use crate::spool::{Prepared, SledSpool, SpoolConfig, io_error, run_blocking};
use crate::store_state::StoreState;
use crate::sweep;

/// The settings of a store on disk.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The directory of all data. If it is missing, it is created with mode 0700.
    pub state_dir: PathBuf,
    /// Octets to keep free on its file system.
    pub min_free: u64,
    /// Bodies of up to this many octets are stored in the database, larger ones in files.
    pub inline_body: usize,
}

/// A [`QueueStore`] that survives power loss.
#[derive(Debug)]
pub struct SledStore {
    state: Arc<StoreState>,
    spool: Arc<SpoolConfig>,
    ids: IdSource,
    /// `None` only during the drop.
    operations: Option<Sender<Operation>>,
    committer: Option<JoinHandle<()>>,
    #[cfg(test)]
    faults: crate::database::tests::Faults,
}

impl SledStore {
    /// Opens the queue of a state directory, creates what is missing, and sweeps it: see the table
    /// of legal states in the documentation of the crate.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let state_dir = &config.state_dir;
        for dir in [
            state_dir.clone(),
            state_dir.join("mess"),
            state_dir.join("corrupt"),
        ] {
            make_dir(&dir)?;
        }
        let lock = take_lock(state_dir)?;
        let database = panics_as_errors(|| Database::open(state_dir))?;
        #[cfg(test)]
        let faults = database.faults.clone();
        let remover = Remover::start();
        let remover = remover.map_err(|e| io_error("starting", Path::new("a thread"), e))?;
        let state = Arc::new(StoreState::new(state_dir.clone(), remover.clone()));
        let ids = IdSource::default();
        if let Some(last) = panics_as_errors(|| sweep::run(&state, &database))? {
            ids.skip_past(last);
        }
        let (operations, committer) = committer::start(Arc::clone(&state), database, lock)?;
        let spool = Arc::new(SpoolConfig {
            mess: state.mess(),
            disk_space: DiskSpace::new(state_dir.clone(), config.min_free),
            inline_body: config.inline_body,
            remover,
        });
        Ok(Self {
            state,
            spool,
            ids,
            operations: Some(operations),
            committer: Some(committer),
            #[cfg(test)]
            faults,
        })
    }

    async fn ask<T>(
        &self,
        operation: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Operation,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let closed = || StoreError::Closed {
            reason: "it was shut down".into(),
        };
        let operations = self.operations.as_ref().ok_or_else(closed)?;
        operations.send(operation(answer)).map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| {
            Err(StoreError::Closed {
                reason: "it was closed before this was done".into(),
            })
        })
    }

    fn record(&self, id: QueueId) -> Result<Option<Record>, StoreError> {
        let found = self.state.table()?.get(ValueKind::Record, id)?;
        let damaged = |e: RecordError| StoreError::Damaged {
            id,
            reason: e.to_string(),
        };
        found
            .map(|bytes| Record::decode(id, &bytes).map_err(damaged))
            .transpose()
    }

    /// Returns the content of a message, even if it is claimed, or `None` if it has left. Fails
    /// with [`StoreError::Damaged`] if it is damaged; it has then been set aside.
    pub async fn content(&self, id: QueueId) -> Result<Option<Content>, StoreError> {
        let stored = self.stored(id).await?;
        Ok(stored.map(|(_, content)| content))
    }

    /// Returns the record and the content of a message, even if it is claimed, or `None` if it has
    /// left.
    pub(crate) async fn stored(
        &self,
        id: QueueId,
    ) -> Result<Option<(Record, Content)>, StoreError> {
        let Some(record) = self.quarantine_if_damaged(self.record(id)).await? else {
            return Ok(None);
        };
        match self.read_content(record.clone()).await {
            // The message may have left during the read.
            Err(StoreError::Damaged { .. }) if !self.has(id)? => Ok(None),
            read => {
                let content = self.quarantine_if_damaged(read).await?;
                Ok(Some((record, content)))
            }
        }
    }

    /// Returns whether there is a record with this id, readable or not.
    pub(crate) fn has(&self, id: QueueId) -> Result<bool, StoreError> {
        Ok(self.state.table()?.get(ValueKind::Record, id)?.is_some())
    }

    /// Starts the spool of a message that already has an id, which must be unique.
    pub(crate) fn spool_as(&self, id: QueueId) -> Result<SledSpool, StoreError> {
        self.state.table()?;
        self.ids.skip_past(id);
        Ok(SledSpool::new(id, Arc::clone(&self.spool)))
    }

    /// Commits a message from another queue without changes. Fails with [`StoreError::Damaged`],
    /// and keeps nothing of it, if its content does not match its record.
    pub(crate) async fn restore(
        &self,
        spool: SledSpool,
        record: Record,
        head: &[u8],
    ) -> Result<(), StoreError> {
        let (message, expected) = (record.message, record.layout);
        let prepared = spool.prepare(head).await?;
        let found = prepared.layout;
        if (found.head, found.body, found.checksum)
            != (expected.head, expected.body, expected.checksum)
        {
            return Err(StoreError::Damaged {
                id: message.id,
                reason: "its content does not match its record".to_owned(),
            });
        }
        let entered = self.ask(|answer| Operation::Commit(Box::new(message), prepared, answer));
        entered.await.map(drop)
    }

    /// Waits until the files of all abandoned messages are removed.
    pub(crate) async fn has_removed(&self) {
        let remover = self.state.remover.clone();
        // If the thread has died, the next sweep removes its files.
        let _ = tokio::task::spawn_blocking(move || remover.finish()).await;
    }

    async fn quarantine(&self, id: QueueId, reason: String) -> Result<(), StoreError> {
        self.ask(|answer| Operation::Quarantine(id, reason, answer))
            .await
    }

    /// Sets the message aside if the error is [`StoreError::Damaged`], and returns the result.
    async fn quarantine_if_damaged<T>(
        &self,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(StoreError::Damaged { id, reason }) = &result {
            self.quarantine(*id, reason.clone()).await?;
        }
        result
    }

    async fn prepare_bounce(&self, bounce: NewMessage) -> Result<(Message, Prepared), StoreError> {
        let mut spool = SledSpool::for_report(bounce.id, Arc::clone(&self.spool));
        spool.write(&bounce.body).await?;
        let prepared = spool.prepare(&bounce.head).await?;
        let (id, size) = (bounce.id, prepared.layout.size());
        let message = Message::new(id, bounce.arrived, bounce.origin, bounce.envelope, size);
        Ok((message, prepared))
    }

    /// Reads the content: a file on a blocking thread, because that takes long, and a value of the
    /// database directly.
    async fn read_content(&self, record: Record) -> Result<Content, StoreError> {
        let (table, body) = (self.state.table()?, self.state.body(record.message.id));
        if record.layout.place.has_file() {
            return run_blocking(move || content::read(&table, &record, &body)).await;
        }
        content::read(&table, &record, &body)
    }
}

impl Drop for SledStore {
    /// Waits for the current batch, so that the queue can be opened again at once.
    fn drop(&mut self) {
        self.operations = None;
        if let Some(committer) = self.committer.take() {
            // If it panicked, its message is already printed.
            let _ = committer.join();
        }
    }
}

impl QueueStore for SledStore {
    type Spool = SledSpool;

    #[expect(clippy::disallowed_methods, reason = "an id's time only has to rise")]
    fn next_id(&self) -> QueueId {
        self.ids.next(SystemTime::now())
    }

    fn has_room(&self, size: u64) -> Result<(), StoreError> {
        self.state.table()?;
        self.spool.disk_space.check(size)
    }

    fn begin(&self) -> Result<SledSpool, StoreError> {
        self.state.table()?;
        Ok(SledSpool::new(self.next_id(), Arc::clone(&self.spool)))
    }

    async fn commit(
        &self,
        spool: SledSpool,
        envelope: Envelope,
        arrived: SystemTime,
        head: Bytes,
    ) -> Result<Message, StoreError> {
        let id = spool.id();
        let prepared = spool.prepare(&head).await?;
        let size = prepared.layout.size();
        let message = Message::new(id, arrived, Origin::Client, envelope, size);
        self.ask(|answer| Operation::Commit(Box::new(message), prepared, answer))
            .await
    }

    async fn scan(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let table = self.state.table()?;
        let (messages, damaged) = run_blocking(move || read_page(&table, after, limit)).await?;
        for (id, reason) in damaged {
            match self.quarantine(id, reason).await {
                // The message stays in place, which is logged. The messages after it are still
                // read.
                Ok(()) | Err(StoreError::Io { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(messages)
    }

    async fn get(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        let record = self.quarantine_if_damaged(self.record(id)).await?;
        Ok(record.map(|record| record.message))
    }

    async fn claim(&self, id: QueueId) -> Result<Option<(Claim, Message)>, StoreError> {
        let message = self.get(id).await?;
        Ok(message.map(|message| (self.state.claims.take(id), message)))
    }

    async fn open(&self, claim: Claim) -> Result<Content, StoreError> {
        if !self.state.claims.is_held(claim) {
            return Err(StoreError::ClaimLost(claim.id));
        }
        let record = self
            .record(claim.id)
            .and_then(|r| r.ok_or(StoreError::ClaimLost(claim.id)));
        let content = match record {
            Ok(record) => self.read_content(record).await,
            Err(e) => Err(e),
        };
        self.quarantine_if_damaged(content).await
    }

    async fn settle(
        &self,
        claim: Claim,
        settlement: Settlement,
    ) -> Result<Option<Message>, StoreError> {
        let mut bounces = Vec::with_capacity(settlement.bounces.len());
        for bounce in settlement.bounces {
            bounces.push(self.prepare_bounce(bounce).await?);
        }
        let settle = Settle {
            claim,
            changes: settlement.recipients,
            told_of_delay: settlement.told_of_delay,
            bounces,
        };
        self.ask(|answer| Operation::Settle(settle, answer)).await
    }

    async fn set_held(&self, id: QueueId, held: bool) -> Result<Option<HoldResult>, StoreError> {
        // Holding a held queue again must not write all records again.
        match self.get(id).await? {
            None => return Ok(None),
            Some(message) if message.held == held => {
                let changed = false;
                return Ok(Some(HoldResult { message, changed }));
            }
            Some(_) => {}
        }
        self.ask(|answer| Operation::Hold(id, held, answer)).await
    }

    async fn delete(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        self.ask(|answer| Operation::Delete(id, answer)).await
    }

    fn release(&self, claim: Claim) {
        self.state.claims.release(claim);
    }

    fn count(&self) -> u64 {
        self.state.count.load(Ordering::Relaxed)
    }

    fn count_fresh(&self) -> u64 {
        self.state.fresh.load(Ordering::Relaxed)
    }

    fn count_damaged(&self) -> u64 {
        self.state.damaged.load(Ordering::Relaxed)
    }

    fn books(&self) -> Books {
        self.state.ledger().books
    }

    async fn audit(&self) -> Result<Audit, StoreError> {
        self.ask(Operation::Audit).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.ask(Operation::Close).await
    }
}

/// The messages of a page, and the unreadable ones with the reason.
type Page = (Vec<Message>, Vec<(QueueId, String)>);

/// A page ends when its records have this many octets: one record may have a hundred recipients,
/// each with long replies of remote hosts.
const PAGE_OCTETS: usize = 4 * 1024 * 1024;

fn read_page(table: &Table, after: Option<QueueId>, limit: usize) -> Result<Page, StoreError> {
    let (mut messages, mut damaged) = (Vec::new(), Vec::new());
    let mut octets = 0;
    for row in table.records(after) {
        if messages.len() >= limit || octets >= PAGE_OCTETS {
            break;
        }
        let (id, value) = row?;
        match Record::decode(id, &value) {
            Ok(record) => {
                octets += value.len();
                messages.push(record.message);
            }
            Err(e) => damaged.push((id, e.to_string())),
        }
    }
    table.sync_if_much_was_written()?;
    Ok((messages, damaged))
}

/// Creates the directory and its missing parents, and makes their names durable.
pub(crate) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => dir,
    };
    if above != dir {
        make_dir(above)?;
    }
    let made = DirBuilder::new().mode(0o700).create(dir);
    made.map_err(|source| io_error("creating the directory", dir, source))?;
    File::open(above)
        .and_then(|parent| parent.sync_all())
        .map_err(|source| io_error("syncing", above, source))
}

/// Locks the state directory, so that only one relayd uses it. The lock ends with the process.
pub(crate) fn take_lock(state_dir: &Path) -> Result<File, StoreError> {
    let path = state_dir.join("lock");
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = opened.map_err(|source| io_error("opening", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            dir: state_dir.display().to_string(),
        }),
        Err(TryLockError::Error(source)) => Err(io_error("locking", &path, source)),
    }
}

#[cfg(test)]
mod tests;
