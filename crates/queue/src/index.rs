//! The index in memory: where in the journal each message is.
//!
//! Records and contents are on the disk only. An entry has a few dozen octets.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use relay_message::{Message, QueueId};

use crate::journal::{FrameState, HEADER, Position, Segment, Segments};
use crate::record::{Ledger, Record};

/// The message was not tried yet.
const FRESH: u8 = 1;
/// The message has a body file.
const FILE: u8 = 2;
/// The message is in the index on disk. This flag is not written.
const INDEXED: u8 = 128;

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The frame with its latest record.
    pub(crate) record: Position,
    pub(crate) record_length: u32,
    /// Its content; of length 0 if there is none in the journal.
    pub(crate) content: Position,
    pub(crate) content_length: u32,
    pub(crate) outstanding: u32,
    pub(crate) flags: u8,
}

/// Returns what a frame tells of this record.
pub(crate) fn summary(record: &Record) -> FrameState {
    let mut flags = 0;
    if record.message.is_fresh() {
        flags |= FRESH;
    }
    if record.layout.place.has_file() {
        flags |= FILE;
    }
    FrameState {
        outstanding: outstanding(&record.message),
        flags,
    }
}

fn outstanding(message: &Message) -> u32 {
    u32::try_from(message.outstanding()).unwrap_or(u32::MAX)
}

impl Entry {
    pub(crate) fn is_fresh(&self) -> bool {
        self.flags & FRESH != 0
    }

    pub(crate) fn has_file(&self) -> bool {
        self.flags & FILE != 0
    }

    /// Returns the flags that are written.
    pub(crate) fn stored_flags(&self) -> u8 {
        self.flags & !INDEXED
    }

    /// Returns which segments it needs, and how many octets of each.
    fn uses(&self) -> [(u32, u64); 2] {
        let record = HEADER as u64 + u64::from(self.record_length);
        [
            (self.record.segment, record),
            (self.content.segment, u64::from(self.content_length)),
        ]
    }

    /// Whether it needs the segment.
    pub(crate) fn is_in(&self, segment: u32) -> bool {
        self.uses()
            .iter()
            .any(|&(used, octets)| used == segment && octets > 0)
    }
}

/// A change of the index, made when its round is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Put(QueueId, Entry),
    Remove(QueueId),
}

/// The values that the relay keeps in the queue, by number.
pub(crate) type Notes = BTreeMap<u64, Bytes>;

/// The queue as it is on disk.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: BTreeMap<QueueId, Entry>,
    fresh: u64,
    /// The open segments.
    pub(crate) segments: Segments,
    /// Octets in use, by segment.
    live: BTreeMap<u32, u64>,
    /// What the index on disk does not know yet.
    changed: HashSet<QueueId>,
    pub(crate) ledger: Ledger,
    pub(crate) notes: Notes,
    /// Where the durable rounds end.
    pub(crate) end: Position,
}

impl Index {
    pub(crate) fn get(&self, id: QueueId) -> Option<Entry> {
        self.entries.get(&id).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn fresh(&self) -> u64 {
        self.fresh
    }

    pub(crate) fn outstanding(&self) -> u64 {
        let entries = self.entries.values();
        entries.map(|entry| u64::from(entry.outstanding)).sum()
    }

    pub(crate) fn last_id(&self) -> Option<QueueId> {
        self.entries.last_key_value().map(|(&id, _)| id)
    }

    /// Returns the entries above `after`, in the order of their ids.
    pub(crate) fn above(
        &self,
        after: Option<QueueId>,
    ) -> impl Iterator<Item = (QueueId, Entry)> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range((from, Bound::Unbounded));
        entries.map(|(&id, &entry)| (id, entry))
    }

    /// Returns the segment, if it is there.
    pub(crate) fn segment(&self, number: u32) -> Option<Arc<Segment>> {
        self.segments.get(&number).cloned()
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Put(id, entry) => self.put(id, entry),
            Change::Remove(id) => self.remove(id),
        }
    }

    fn put(&mut self, id: QueueId, mut entry: Entry) {
        for (segment, octets) in entry.uses() {
            if octets > 0 {
                *self.live.entry(segment).or_default() += octets;
            }
        }
        self.fresh += u64::from(entry.is_fresh());
        entry.flags = entry.stored_flags();
        self.changed.insert(id);
        let old = self.entries.get(&id).copied();
        if let Some(old) = old {
            entry.flags |= old.flags & INDEXED;
            self.forget(&old);
        }
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: QueueId) {
        let Some(old) = self.entries.remove(&id) else {
            return;
        };
        self.forget(&old);
        if old.flags & INDEXED == 0 {
            self.changed.remove(&id);
        } else {
            self.changed.insert(id);
        }
    }

    fn forget(&mut self, old: &Entry) {
        self.fresh -= u64::from(old.is_fresh());
        for (segment, octets) in old.uses() {
            if let Some(live) = self.live.get_mut(&segment) {
                *live = live.saturating_sub(octets);
            }
        }
    }

    /// Adds an entry that the index on disk has.
    pub(crate) fn load(&mut self, id: QueueId, entry: Entry) {
        self.put(id, entry);
        self.changed.remove(&id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.flags |= INDEXED;
        }
    }

    /// Returns the octets of the segment that are in use.
    pub(crate) fn live(&self, segment: u32) -> u64 {
        self.live.get(&segment).copied().unwrap_or_default()
    }

    /// Returns the octets in use in all segments.
    pub(crate) fn all_live(&self) -> u64 {
        self.live.values().sum()
    }

    /// Forgets a segment that is given up.
    pub(crate) fn drop_segment(&mut self, number: u32) {
        self.segments.remove(&number);
        self.live.remove(&number);
    }

    /// Returns how many entries the index on disk does not know.
    pub(crate) fn changes(&self) -> usize {
        self.changed.len()
    }

    /// Returns what the index on disk does not know yet, and takes it for known.
    pub(crate) fn take_changes(&mut self) -> Vec<(QueueId, Option<Entry>)> {
        let changed = std::mem::take(&mut self.changed);
        let state = |id| {
            let entry = self.entries.get_mut(&id);
            let entry = entry.map(|entry| {
                entry.flags |= INDEXED;
                *entry
            });
            (id, entry)
        };
        changed.into_iter().map(state).collect()
    }

    /// Starts to write the whole index anew. Returns the first entries above `after`, at most
    /// `limit`, and takes them for known.
    pub(crate) fn take_page(
        &mut self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Vec<(QueueId, Entry)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::with_capacity(limit);
        for (&id, entry) in self.entries.range_mut((from, Bound::Unbounded)).take(limit) {
            self.changed.remove(&id);
            entry.flags |= INDEXED;
            page.push((id, *entry));
        }
        page
    }
}
