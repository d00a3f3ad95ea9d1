//! A batch of the committer: many operations become durable with one write.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use relay_failpoint as failpoint;
use relay_message::{HoldResult, Message, QueueId, Settled, StoreError};

use crate::chunks::{Changes, ValueKind};
use crate::database::Table;
use crate::operation::{Answer, Operation, Settle, refuse};
use crate::quarantine::{self, Evidence};
use crate::record::Ledger;
use crate::record::{ContentPlace, Layout, Record};
use crate::spool::{BodyFile, Prepared};
use crate::store_state::StoreState;

/// The changes to write, and the operations that wait for an answer. Entries are final values, not
/// differences: a batch can be written again if it is not known whether it reached the disk.
#[derive(Default)]
pub(crate) struct Batch {
    entries: HashMap<QueueId, Entry>,
    /// Contents of new messages.
    contents: HashMap<QueueId, Vec<u8>>,
    files: HashMap<QueueId, BodyFile>,
    waiting: Vec<Waiting>,
    ledger: Ledger,
    /// Files to remove when the batch is durable.
    unlink: Vec<PathBuf>,
    count: Change,
    fresh: Change,
}

/// The change to one message.
struct Entry {
    /// The new record, or `None` if the message leaves.
    record: Option<Record>,
    /// The octets of its record before this batch.
    stored: usize,
    /// The octets of its content, which is removed with the record.
    content: usize,
}

/// An operation that waits for the batch, and its answer.
enum Waiting {
    Commit(Box<Message>, Answer<Message>),
    Settle(QueueId, Option<Box<Message>>, Answer<Option<Message>>),
    Quarantine(QueueId, Answer<()>),
    Hold(Box<HoldResult>, Answer<Option<HoldResult>>),
    Delete(Box<Message>, Answer<Option<Message>>),
}

/// The change of a counter when the batch is durable.
#[derive(Default)]
struct Change {
    up: u64,
    down: u64,
}

impl Change {
    fn apply(&self, counter: &AtomicU64) {
        counter.fetch_add(self.up, Ordering::Relaxed);
        counter.fetch_sub(self.down, Ordering::Relaxed);
    }
}

impl Batch {
    /// Starts a batch on top of the books as they are on disk.
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            ..Self::default()
        }
    }

    /// Adds one operation. An error comes from the database and ends the batch.
    pub(crate) fn apply(
        &mut self,
        operation: Operation,
        table: &Table,
        state: &StoreState,
    ) -> Result<(), StoreError> {
        match operation {
            Operation::Commit(message, prepared, answer) => {
                self.enter(message.as_ref().clone(), prepared);
                self.waiting.push(Waiting::Commit(message, answer));
                Ok(())
            }
            Operation::Settle(settle, answer) => self.settle(settle, answer, table, state),
            Operation::Quarantine(id, reason, answer) => {
                // If `corrupt/` cannot be written, the queue stays open.
                match self.quarantine(id, &reason, table, state) {
                    Ok(()) => self.waiting.push(Waiting::Quarantine(id, answer)),
                    Err(e) => {
                        quarantine::warn_of_staying(id, &reason, &e);
                        let _ = answer.send(Err(e));
                    }
                }
                Ok(())
            }
            Operation::Hold(id, held, answer) => self.hold(id, held, answer, table),
            Operation::Delete(id, answer) => self.delete(id, answer, table, state),
            // The committer's own.
            Operation::Audit(_) | Operation::Close(_) => Ok(()),
        }
    }

    fn enter(&mut self, message: Message, prepared: Prepared) {
        let (id, layout) = (message.id, prepared.layout);
        // A message imported from another queue may have been tried there.
        let is_fresh = message.is_fresh();
        let outstanding = message.outstanding();
        self.ledger.books.enter(message.origin, outstanding);
        let entry = Entry {
            record: Some(Record { message, layout }),
            stored: 0,
            content: prepared.content.len(),
        };
        self.entries.insert(id, entry);
        if !prepared.content.is_empty() {
            self.contents.insert(id, prepared.content);
        }
        if let Some(file) = prepared.file {
            self.files.insert(id, file);
        }
        self.count.up += 1;
        self.fresh.up += u64::from(is_fresh);
    }

    fn settle(
        &mut self,
        settle: Settle,
        answer: Answer<Option<Message>>,
        table: &Table,
        state: &StoreState,
    ) -> Result<(), StoreError> {
        let id = settle.claim.id;
        if !state.claims.is_held(settle.claim) {
            let _ = answer.send(Err(StoreError::ClaimLost(id)));
            return Ok(());
        }
        let Some((mut record, stored)) = self.read(id, table)? else {
            // The message has left. The bounces of this settlement are dropped.
            state.claims.end(id);
            let _ = answer.send(Ok(None));
            return Ok(());
        };
        let was_fresh = record.message.is_fresh();
        let before = Settled::of(&record.message);
        record.message.apply(settle.changes);
        record.message.told_of_delay(&settle.told_of_delay);
        self.ledger.books.settle(before, &record.message);
        let left = if record.message.is_settled() {
            self.leave(&record, was_fresh, stored, state);
            None
        } else {
            self.fresh.down += u64::from(was_fresh && !record.message.is_fresh());
            let left = Box::new(record.message.clone());
            self.stay(record, stored);
            Some(left)
        };
        for (message, prepared) in settle.bounces {
            self.enter(message, prepared);
        }
        self.waiting.push(Waiting::Settle(id, left, answer));
        Ok(())
    }

    /// Returns the record with the changes of this batch, and its octets in the database.
    fn read(&self, id: QueueId, table: &Table) -> Result<Option<(Record, usize)>, StoreError> {
        if let Some(entry) = self.entries.get(&id) {
            return Ok(entry.record.clone().map(|record| (record, entry.stored)));
        }
        let bytes = table.get(ValueKind::Record, id)?;
        // The next scan sets an unreadable record aside. Here it counts as gone.
        Ok(bytes.and_then(|bytes| Some((Record::decode(id, &bytes).ok()?, bytes.len()))))
    }

    fn hold(
        &mut self,
        id: QueueId,
        held: bool,
        answer: Answer<Option<HoldResult>>,
        table: &Table,
    ) -> Result<(), StoreError> {
        let Some((mut record, stored)) = self.read(id, table)? else {
            let _ = answer.send(Ok(None));
            return Ok(());
        };
        let changed = record.message.set_held(held);
        let message = record.message.clone();
        if changed {
            self.stay(record, stored);
        }
        let result = Box::new(HoldResult { message, changed });
        self.waiting.push(Waiting::Hold(result, answer));
        Ok(())
    }

    fn delete(
        &mut self,
        id: QueueId,
        answer: Answer<Option<Message>>,
        table: &Table,
        state: &StoreState,
    ) -> Result<(), StoreError> {
        let Some((record, stored)) = self.read(id, table)? else {
            let _ = answer.send(Ok(None));
            return Ok(());
        };
        // From now on no attempt can settle, not even later in this batch.
        state.claims.end(id);
        self.ledger.books.discarded += record.message.outstanding();
        self.leave(&record, record.message.is_fresh(), stored, state);
        let message = Box::new(record.message);
        self.waiting.push(Waiting::Delete(message, answer));
        Ok(())
    }

    fn stay(&mut self, record: Record, stored: usize) {
        let id = record.message.id;
        let entry = Entry {
            content: content_length(&record.layout),
            record: Some(record),
            stored,
        };
        self.entries.insert(id, entry);
    }

    fn leave(&mut self, record: &Record, was_fresh: bool, stored: usize, state: &StoreState) {
        let id = record.message.id;
        let entry = Entry {
            record: None,
            stored,
            content: content_length(&record.layout),
        };
        self.entries.insert(id, entry);
        self.count.down += 1;
        self.fresh.down += u64::from(was_fresh);
        if record.layout.place.has_file() {
            self.unlink.push(state.body(id));
        }
    }

    /// Moves all that is left of the message to `corrupt/`, before its record is removed.
    fn quarantine(
        &mut self,
        id: QueueId,
        reason: &str,
        table: &Table,
        state: &StoreState,
    ) -> Result<(), StoreError> {
        let in_batch = self.entries.get(&id).is_some_and(|e| e.record.is_none());
        let Some(evidence) = Evidence::gather(table, id)?.filter(|_| !in_batch) else {
            return Ok(());
        };
        let known = self.read(id, table)?;
        quarantine::keep(state, id, &evidence, reason)?;
        self.count.down += 1;
        match known {
            Some((record, _)) => {
                self.fresh.down += u64::from(record.message.is_fresh());
                self.ledger.books.set_aside += record.message.outstanding();
            }
            // Its recipients are in the books, but their number is unknown.
            None => self.ledger.is_short = true,
        }
        let entry = Entry {
            record: None,
            stored: evidence.record.len(),
            content: evidence.content.len(),
        };
        self.entries.insert(id, entry);
        Ok(())
    }

    pub(crate) fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        changes.put_books(&self.ledger);
        for (&id, content) in &self.contents {
            changes.put(ValueKind::Content, id, content, 0);
        }
        for (&id, entry) in &self.entries {
            if let Some(record) = &entry.record {
                changes.put(ValueKind::Record, id, &record.encode(), entry.stored);
            } else {
                changes.remove(ValueKind::Record, id, entry.stored);
                changes.remove(ValueKind::Content, id, entry.content);
            }
        }
        changes
    }

    pub(crate) fn has_new_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Called when the batch is durable. Updates the counters, answers, and removes unused files.
    pub(crate) fn succeed(self, state: &StoreState) {
        self.count.apply(&state.count);
        self.fresh.apply(&state.fresh);
        state.set_ledger(self.ledger);
        self.files.into_values().for_each(BodyFile::keep);
        for waiting in self.waiting {
            match waiting {
                Waiting::Commit(message, answer) => {
                    let _ = answer.send(Ok(*message));
                }
                Waiting::Settle(id, left, answer) => {
                    if left.is_none() {
                        state.claims.end(id);
                    }
                    let _ = answer.send(Ok(left.map(|message| *message)));
                }
                Waiting::Quarantine(id, answer) => {
                    state.claims.end(id);
                    let _ = answer.send(Ok(()));
                }
                Waiting::Hold(result, answer) => {
                    let _ = answer.send(Ok(Some(*result)));
                }
                Waiting::Delete(message, answer) => {
                    // A claim taken in the meantime is void.
                    state.claims.end(message.id);
                    let _ = answer.send(Ok(Some(*message)));
                }
            }
        }
        failpoint::point("told");
        for path in self.unlink {
            state.remover.remove(path, None);
        }
    }

    /// Called when it is not known whether the batch reached the disk. Clients get an error, so
    /// their messages must be removed if they are on the disk; all other changes must be written
    /// again. The batch that is left does both when it is written.
    pub(crate) fn refuse_commits(&mut self, reason: &str) {
        let (commits, others) = self
            .waiting
            .drain(..)
            .partition(|waiting| matches!(waiting, Waiting::Commit(..)));
        self.waiting = others;
        let commits: Vec<Waiting> = commits;
        for waiting in commits {
            if let Waiting::Commit(message, answer) = waiting {
                self.take_back(message.id);
                refuse(answer, reason);
            }
        }
    }

    fn take_back(&mut self, id: QueueId) {
        self.contents.remove(&id);
        // Dropping the handle removes the file.
        self.files.remove(&id);
        self.count.up -= 1;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Some(record) = entry.record.take() {
            entry.stored = record.encode().len();
            self.fresh.up -= u64::from(record.message.is_fresh());
            self.ledger.books.take_back(&record.message);
        }
    }

    /// Called when the store closes and it is not known whether the batch reached the disk. Files
    /// stay: a record may refer to them; if not, the next sweep removes them.
    pub(crate) fn abandon(self, reason: &str) {
        self.files.into_values().for_each(BodyFile::keep);
        for waiting in self.waiting {
            match waiting {
                Waiting::Commit(_, answer) => refuse(answer, reason),
                Waiting::Quarantine(_, answer) => refuse(answer, reason),
                Waiting::Hold(_, answer) => refuse(answer, reason),
                Waiting::Settle(_, _, answer) | Waiting::Delete(_, answer) => {
                    refuse(answer, reason);
                }
            }
        }
    }
}

/// Returns the octets of head and body that are in the database.
fn content_length(layout: &Layout) -> usize {
    let octets = match layout.place {
        ContentPlace::Database => layout.size(),
        ContentPlace::BodyFile => layout.head,
        ContentPlace::WholeFile => 0,
    };
    usize::try_from(octets).unwrap_or(usize::MAX)
}
