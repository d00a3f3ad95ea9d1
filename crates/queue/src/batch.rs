//! A batch of the committer: many operations become durable as one round.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bytes::Bytes;
use relay_failpoint as failpoint;
use relay_message::{HoldResult, Message, QueueId, Settled, StoreError};

use crate::content;
use crate::index::{Change, Entry, Index, summary};
use crate::journal::{Appended, ContentOctets, FrameState, Position, Round};
use crate::operation::{Answer, Operation, Settle, refuse};
use crate::quarantine::{self, Evidence};
use crate::record::{Ledger, Record};
use crate::spool::{BodyFile, JournalContent, Prepared};
use crate::store_state::StoreState;

/// The changes to write, and the operations that wait for an answer. Records are final values, not
/// differences: a batch can be written again if it is not known whether it reached the disk.
#[derive(Default)]
pub(crate) struct Batch {
    /// The new records; `None` for a message that leaves.
    records: BTreeMap<QueueId, Option<Record>>,
    /// Contents of new messages.
    contents: HashMap<QueueId, JournalContent>,
    files: HashMap<QueueId, BodyFile>,
    notes: BTreeMap<u64, Bytes>,
    waiting: Vec<Waiting>,
    pub(crate) ledger: Ledger,
    /// Files to remove when the batch is durable.
    unlink: Vec<PathBuf>,
}

/// An operation that waits for the batch, and its answer.
enum Waiting {
    Commit(Box<Message>, Answer<Message>),
    Settle(QueueId, Option<Box<Message>>, Answer<Option<Message>>),
    Quarantine(QueueId, Answer<()>),
    Hold(Box<HoldResult>, Answer<Option<HoldResult>>),
    Delete(Box<Message>, Answer<Option<Message>>),
    Note(Answer<()>),
}

/// A change whose place in the journal is known relative to its round.
#[derive(Debug)]
pub(crate) struct Staged {
    id: QueueId,
    /// `None` for a message that leaves.
    frame: Option<StagedFrame>,
}

#[derive(Debug)]
struct StagedFrame {
    /// Where in the round the frame begins.
    at: u32,
    record_length: u32,
    /// The octets of a content behind the record, or `None` if the content stays where it is.
    content_length: Option<u32>,
    summary: FrameState,
}

impl Batch {
    /// Starts a batch on top of the books as they are on disk.
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            ..Self::default()
        }
    }

    /// Adds one operation.
    pub(crate) fn apply(&mut self, operation: Operation, state: &StoreState) {
        match operation {
            Operation::Commit(message, prepared, answer) => {
                self.enter(message.as_ref().clone(), prepared);
                self.waiting.push(Waiting::Commit(message, answer));
            }
            Operation::Settle(settle, answer) => self.settle(settle, answer, state),
            Operation::Quarantine(id, reason, answer) => {
                // If `corrupt/` cannot be written, the queue stays open.
                match self.quarantine(id, &reason, state) {
                    Ok(()) => self.waiting.push(Waiting::Quarantine(id, answer)),
                    Err(e) => {
                        quarantine::warn_of_staying(id, &reason, &e);
                        let _ = answer.send(Err(e));
                    }
                }
            }
            Operation::Hold(id, held, answer) => self.hold(id, held, answer, state),
            Operation::Delete(id, answer) => self.delete(id, answer, state),
            Operation::Note(number, value, answer) => {
                self.notes.insert(number, value);
                self.waiting.push(Waiting::Note(answer));
            }
            // The committer's own.
            Operation::Audit(_) | Operation::Close(_) => {}
        }
    }

    pub(crate) fn enter(&mut self, message: Message, prepared: Prepared) {
        let (id, layout) = (message.id, prepared.layout);
        self.ledger
            .books
            .enter(message.origin, message.outstanding());
        self.records.insert(id, Some(Record { message, layout }));
        self.contents.insert(id, prepared.content);
        if let Some(file) = prepared.file {
            self.files.insert(id, file);
        }
    }

    fn settle(&mut self, settle: Settle, answer: Answer<Option<Message>>, state: &StoreState) {
        let id = settle.claim.id;
        if !state.claims.is_held(settle.claim) {
            let _ = answer.send(Err(StoreError::ClaimLost(id)));
            return;
        }
        let Some((mut record, answer)) = self.read(id, answer, state) else {
            // If the message has left, the bounces of this settlement are dropped.
            return;
        };
        let before = Settled::of(&record.message);
        record.message.apply(settle.changes);
        record.message.told_of_delay(&settle.told_of_delay);
        self.ledger.books.settle(before, &record.message);
        let left = if record.message.is_settled() {
            self.leave(&record, state);
            None
        } else {
            let left = Box::new(record.message.clone());
            self.records.insert(id, Some(record));
            Some(left)
        };
        for (message, prepared) in settle.bounces {
            self.enter(message, prepared);
        }
        self.waiting.push(Waiting::Settle(id, left, answer));
    }

    /// Returns the record with the changes of this batch. Answers if there is none or it cannot be
    /// read.
    fn read<T>(
        &self,
        id: QueueId,
        answer: Answer<Option<T>>,
        state: &StoreState,
    ) -> Option<(Record, Answer<Option<T>>)> {
        let read = match self.records.get(&id) {
            Some(record) => Ok(record.clone()),
            None => content::record(state, id),
        };
        match read {
            Ok(Some(record)) => return Some((record, answer)),
            // The next scan sets a damaged message aside. Here it counts as gone.
            Ok(None) | Err(StoreError::Damaged { .. }) => {
                state.claims.end(id);
                let _ = answer.send(Ok(None));
            }
            Err(e) => {
                let _ = answer.send(Err(e));
            }
        }
        None
    }

    fn hold(
        &mut self,
        id: QueueId,
        held: bool,
        answer: Answer<Option<HoldResult>>,
        state: &StoreState,
    ) {
        let Some((mut record, answer)) = self.read(id, answer, state) else {
            return;
        };
        let changed = record.message.set_held(held);
        let message = record.message.clone();
        if changed {
            self.records.insert(id, Some(record));
        }
        let result = Box::new(HoldResult { message, changed });
        self.waiting.push(Waiting::Hold(result, answer));
    }

    fn delete(&mut self, id: QueueId, answer: Answer<Option<Message>>, state: &StoreState) {
        let Some((record, answer)) = self.read(id, answer, state) else {
            return;
        };
        // From now on no attempt can settle, not even later in this batch.
        state.claims.end(id);
        self.ledger.books.discarded += record.message.outstanding();
        self.leave(&record, state);
        let message = Box::new(record.message);
        self.waiting.push(Waiting::Delete(message, answer));
    }

    fn leave(&mut self, record: &Record, state: &StoreState) {
        let id = record.message.id;
        self.records.insert(id, None);
        if record.layout.place.has_file() {
            self.unlink.push(state.body(id));
        }
    }

    /// Moves all that is left of the message to `corrupt/`, before its record is removed.
    pub(crate) fn quarantine(
        &mut self,
        id: QueueId,
        reason: &str,
        state: &StoreState,
    ) -> Result<(), StoreError> {
        if matches!(self.records.get(&id), Some(None)) {
            return Ok(());
        }
        let Some(located) = state.locate(id) else {
            return Ok(());
        };
        quarantine::keep(state, id, &Evidence::of(&located), reason)?;
        self.ledger.books.set_aside += u64::from(located.entry.outstanding);
        self.records.insert(id, None);
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn remove(&mut self, id: QueueId) {
        self.records.insert(id, None);
    }

    /// Whether the message enters or changes with this batch.
    pub(crate) fn has(&self, id: QueueId) -> bool {
        self.records.contains_key(&id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.notes.is_empty()
    }

    pub(crate) fn has_new_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Writes the frames. Returns the changes that the index needs when the round is durable.
    pub(crate) fn stage(&self, round: &mut Round) -> Vec<Staged> {
        for (&number, value) in &self.notes {
            round.note(number, value);
        }
        let records = self.records.iter();
        records
            .map(|(&id, record)| self.stage_one(id, record.as_ref(), round))
            .collect()
    }

    fn stage_one(&self, id: QueueId, record: Option<&Record>, round: &mut Round) -> Staged {
        let Some(record) = record else {
            round.removal(id.to_bits());
            return Staged { id, frame: None };
        };
        let content = self.contents.get(&id).map(JournalContent::octets);
        Staged::write(id, &record.encode(), summary(record), content, round)
    }

    /// Called when the batch is durable and in the index. Answers, and removes unused files.
    pub(crate) fn succeed(self, state: &StoreState) {
        for (id, record) in &self.records {
            if record.is_none() {
                state.fresh_contents.take(*id);
            }
        }
        for (id, content) in self.contents {
            if !content.body.is_empty() {
                state.fresh_contents.keep(id, &content.head, content.body);
            }
        }
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
                Waiting::Note(answer) => {
                    let _ = answer.send(Ok(()));
                }
            }
        }
        failpoint::point("told");
        for path in self.unlink {
            state.remover.remove(path, None);
        }
    }

    /// Called when it is not known whether the batch reached the disk. Clients get an error, so
    /// their messages must not be there; all other changes must be written again. The batch that is
    /// left does both when it is written.
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
        if let Some(Some(record)) = self.records.insert(id, None) {
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
                Waiting::Quarantine(_, answer) | Waiting::Note(answer) => refuse(answer, reason),
                Waiting::Hold(_, answer) => refuse(answer, reason),
                Waiting::Settle(_, _, answer) | Waiting::Delete(_, answer) => {
                    refuse(answer, reason);
                }
            }
        }
    }

    /// Enters the staged changes and the notes into the index.
    pub(crate) fn enter_into(&self, index: &mut Index, staged: &[Staged], appended: &Appended) {
        for change in staged {
            change.enter_into(index, appended);
        }
        index
            .notes
            .extend(self.notes.iter().map(|(&n, value)| (n, value.clone())));
    }
}

impl Staged {
    /// Writes the frame of a message. Without a content, that stays where it is.
    pub(crate) fn write(
        id: QueueId,
        record: &[u8],
        summary: FrameState,
        content: Option<ContentOctets<'_>>,
        round: &mut Round,
    ) -> Self {
        let at = round.message(id.to_bits(), summary, record, content.unwrap_or_default());
        let frame = StagedFrame {
            at,
            record_length: length(record.len()),
            content_length: content.map(|content| length(content.len())),
            summary,
        };
        Self {
            id,
            frame: Some(frame),
        }
    }

    /// Enters the change into the index.
    pub(crate) fn enter_into(&self, index: &mut Index, appended: &Appended) {
        let change = self.place(appended, index);
        index.apply(change);
    }

    fn place(&self, appended: &Appended, index: &Index) -> Change {
        let Some(frame) = &self.frame else {
            return Change::Remove(self.id);
        };
        let record = Position {
            segment: appended.segment.number,
            offset: appended.start + frame.at,
        };
        let (content, content_length) = match frame.content_length {
            Some(length) => (record.behind(frame.record_length), length),
            None => index.get(self.id).map_or((Position::default(), 0), |old| {
                (old.content, old.content_length)
            }),
        };
        let entry = Entry {
            record,
            record_length: frame.record_length,
            content,
            content_length,
            outstanding: frame.summary.outstanding,
            flags: frame.summary.flags,
        };
        Change::Put(self.id, entry)
    }
}

/// The committer bounds a round far below four gigabytes.
fn length(octets: usize) -> u32 {
    u32::try_from(octets).unwrap_or(u32::MAX)
}
