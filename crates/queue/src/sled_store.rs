//! The queue on disk: the journal has the records and small bodies, files have larger bodies.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::SystemTime;

use bytes::Bytes;
use relay_message::{
    Audit, Books, Claim, Content, Envelope, HoldResult, Message, NewMessage, Origin, QueueId,
    QueueStore, Settlement, Spool, StoreError,
};
use tokio::sync::oneshot;

use crate::committer;
use crate::content;
use crate::disk_space::DiskSpace;
use crate::id_source::IdSource;
use crate::opening;
use crate::operation::{Operation, Settle};
use crate::record::Record;
use crate::spool::{Prepared, SledSpool, SpoolConfig, run_blocking};
use crate::store_state::StoreState;

/// The settings of a store on disk.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The directory of all data. If it is missing, it is created with mode 0700.
    pub state_dir: PathBuf,
    /// Octets to keep free on its file system.
    pub min_free: u64,
    /// Bodies of up to this many octets are stored in the journal, larger ones in files.
    pub inline_body: usize,
}

/// A text that the relay keeps in the queue, so that it survives what the queue survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The operator's standing rules.
    StandingRules,
    /// Temporary permissions to relay.
    TemporaryRelay,
}

impl Note {
    /// Returns the number in the journal.
    fn number(self) -> u64 {
        match self {
            Self::StandingRules => 1,
            Self::TemporaryRelay => 2,
        }
    }
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
    faults: crate::committer::tests::Faults,
}

impl SledStore {
    /// Opens the queue of a state directory, creates what is missing, and sets aside what is damaged:
    /// see the table of legal states in the documentation of the crate.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let opened = opening::open(&config.state_dir)?;
        let state = opened.state;
        let ids = IdSource::default();
        if let Some(last) = opened.last_id {
            ids.skip_past(last);
        }
        #[cfg(test)]
        let faults = opened.writer.faults.clone();
        let (operations, committer) = committer::start(opened.writer, opened.indexer, opened.lock)?;
        let spool = Arc::new(SpoolConfig {
            mess: state.mess(),
            disk_space: DiskSpace::new(config.state_dir.clone(), config.min_free),
            inline_body: config.inline_body,
            remover: state.remover.clone(),
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
        self.send(operation(answer))?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    fn record(&self, id: QueueId) -> Result<Option<Record>, StoreError> {
        self.state.check_readable()?;
        content::record(&self.state, id)
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
        self.state.check_readable()?;
        let state = Arc::clone(&self.state);
        let read = run_blocking(move || content::message(&state, id)).await;
        self.quarantine_if_damaged(read).await
    }

    /// Returns whether the message is in the queue, readable or not.
    pub(crate) fn has(&self, id: QueueId) -> Result<bool, StoreError> {
        self.state.check_readable()?;
        Ok(self.state.index().get(id).is_some())
    }

    /// Returns a text that the relay keeps in the queue, or `None` if it was never set.
    pub fn note(&self, note: Note) -> Option<Bytes> {
        self.state.index().notes.get(&note.number()).cloned()
    }

    /// Keeps a text in the queue, and waits until it would survive a power loss. It must not be
    /// called from a task of the runtime.
    pub fn set_note(&self, note: Note, text: Bytes) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let operation = Operation::Note(note.number(), text, answer);
        self.send(operation)?;
        answered.blocking_recv().unwrap_or_else(|_| Err(ended()))
    }

    fn send(&self, operation: Operation) -> Result<(), StoreError> {
        let operations = self.operations.as_ref().ok_or_else(ended)?;
        operations.send(operation).map_err(|_| ended())
    }

    /// Starts the spool of a message that already has an id, which must be unique.
    pub(crate) fn spool_as(&self, id: QueueId) -> Result<SledSpool, StoreError> {
        self.state.check_open()?;
        self.ids.skip_past(id);
        Ok(SledSpool::new(id, Arc::clone(&self.spool)))
    }

    /// Commits a message from another queue without changes. Fails with [`StoreError::Damaged`],
    /// and keeps nothing of it, if its content does not match its record.
    pub(crate) async fn restore(
        &self,
        spool: SledSpool,
        record: Record,
        head: Bytes,
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
        let prepared = spool.prepare(bounce.head).await?;
        let (id, size) = (bounce.id, prepared.layout.size());
        let message = Message::new(id, bounce.arrived, bounce.origin, bounce.envelope, size);
        Ok((message, prepared))
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
        self.state.check_open()?;
        self.spool.disk_space.check(size)
    }

    fn begin(&self) -> Result<SledSpool, StoreError> {
        self.state.check_open()?;
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
        let prepared = spool.prepare(head).await?;
        let size = prepared.layout.size();
        let message = Message::new(id, arrived, Origin::Client, envelope, size);
        self.ask(|answer| Operation::Commit(Box::new(message), prepared, answer))
            .await
    }

    async fn scan(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.state.check_readable()?;
        let state = Arc::clone(&self.state);
        let (messages, damaged) = run_blocking(move || read_page(&state, after, limit)).await?;
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
        self.state.check_readable()?;
        if !self.state.claims.is_held(claim) {
            return Err(StoreError::ClaimLost(claim.id));
        }
        let id = claim.id;
        if let Some(content) = self.state.fresh_contents.take(id) {
            return Ok(content);
        }
        let stored = self.stored(id).await?;
        let (_, content) = stored.ok_or(StoreError::ClaimLost(id))?;
        Ok(content)
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
        self.state.index().len() as u64
    }

    fn count_fresh(&self) -> u64 {
        self.state.index().fresh()
    }

    fn count_damaged(&self) -> u64 {
        self.state.count_damaged()
    }

    fn books(&self) -> Books {
        self.state.index().ledger.books
    }

    async fn audit(&self) -> Result<Audit, StoreError> {
        self.ask(Operation::Audit).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.ask(Operation::Close).await
    }
}

/// The error of a call to a store that has ended.
fn ended() -> StoreError {
    StoreError::Closed {
        reason: "it was shut down".into(),
    }
}

/// The messages of a page, and the unreadable ones with the reason.
type Page = (Vec<Message>, Vec<(QueueId, String)>);

/// A page ends when its records have this many octets: one record may have a hundred recipients,
/// each with long replies of remote hosts.
const PAGE_OCTETS: usize = 4 * 1024 * 1024;

fn read_page(state: &StoreState, after: Option<QueueId>, limit: usize) -> Result<Page, StoreError> {
    let (mut messages, mut damaged) = (Vec::new(), Vec::new());
    let mut after = after;
    // Messages may leave before they are read. An empty page would mean the end of the queue.
    while messages.is_empty() {
        let ids = ids_above(state, after, limit);
        let Some(&last) = ids.last() else {
            break;
        };
        after = Some(last);
        for id in ids {
            match content::record(state, id) {
                Ok(record) => messages.extend(record.map(|record| record.message)),
                Err(StoreError::Damaged { id, reason }) => damaged.push((id, reason)),
                Err(e) => return Err(e),
            }
        }
    }
    Ok((messages, damaged))
}

/// Returns the next ids of a page.
fn ids_above(state: &StoreState, after: Option<QueueId>, limit: usize) -> Vec<QueueId> {
    let mut octets = 0;
    let index = state.index();
    let entries = index.above(after).take(limit);
    let page = entries.take_while(|(_, entry)| {
        let is_first_or_fits = octets < PAGE_OCTETS;
        octets += entry.record_length as usize;
        is_first_or_fits
    });
    page.map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests;
