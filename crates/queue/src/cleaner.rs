//! Gives up old segments, so that the journal stays small.
//!
//! Only the oldest segment is given up: the frame with which a message left must stay as long as the
//! one with which it entered. Live messages in the oldest segment are appended anew first.

use relay_message::{QueueId, StoreError};
use tracing::warn;

use crate::batch::Staged;
use crate::content;
use crate::index::summary;
use crate::journal::{ContentOctets, Round};
use crate::store_state::StoreState;

/// Octets that are appended anew in one round. Clients wait for it.
const STEP: usize = 1 << 20;

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing.
    Rest,
    /// The index on disk still needs the oldest segment. A checkpoint changes that.
    AwaitCheckpoint,
    /// Give up the segment: nothing in it is needed.
    GiveUp(u32),
    /// Append these messages anew.
    Move(Vec<QueueId>),
}

/// Decides what to do, and remembers what is left of the oldest segment.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    /// Messages that need the oldest segment, or did when this was filled.
    pending: Vec<QueueId>,
    /// A message cannot be read because of an error of the disk. It stays where it is, and so does
    /// its segment.
    is_stopped: bool,
}

impl Cleaner {
    /// Returns what to do. `current` is the segment that is written, and `size` the octets of a usual
    /// segment. The segments may take twice what is queued, and one and a half segment more.
    pub(crate) fn next_step(&mut self, state: &StoreState, current: u32, size: u64) -> Step {
        let index = state.index();
        let Some(&oldest) = index.segments.keys().next().filter(|&&n| n < current) else {
            return Step::Rest;
        };
        if index.live(oldest) == 0 {
            return match state.checkpoints().segment {
                Some(segment) if segment <= oldest => Step::AwaitCheckpoint,
                _ => Step::GiveUp(oldest),
            };
        }
        if self.is_stopped {
            return Step::Rest;
        }
        let lengths = index.segments.values().map(|segment| segment.length);
        if lengths.sum::<u64>() <= 2 * index.all_live() + size * 3 / 2 {
            return Step::Rest;
        }
        if self.pending.is_empty() {
            let entries = index.above(None).filter(|(_, entry)| entry.is_in(oldest));
            self.pending = entries.map(|(id, _)| id).collect();
        }
        let (mut ids, mut octets) = (Vec::new(), 0);
        while octets < STEP
            && let Some(id) = self.pending.pop()
        {
            if let Some(entry) = index.get(id).filter(|entry| entry.is_in(oldest)) {
                octets += entry.record_length as usize + entry.content_length as usize;
                ids.push(id);
            }
        }
        Step::Move(ids)
    }

    /// Moves no more messages until the next start.
    pub(crate) fn stop(&mut self, reason: &StoreError) {
        self.is_stopped = true;
        warn!(target: "relayd", event = "journal", error = %reason,
            "a message in the oldest segment of the journal cannot be read: {reason}; the journal \
             cannot shrink until relayd is started again; check the disk");
    }
}

/// The messages to append anew, and those that are damaged.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(crate) staged: Vec<Staged>,
    pub(crate) damaged: Vec<(QueueId, String)>,
    /// The error of the disk that hit one of them.
    pub(crate) unreadable: Option<StoreError>,
}

/// Writes the frames of these messages.
pub(crate) fn stage(state: &StoreState, ids: &[QueueId], round: &mut Round) -> Moved {
    let mut moved = Moved::default();
    for &id in ids {
        let (record, octets) = match content::stored(state, id) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(StoreError::Damaged { id, reason }) => {
                moved.damaged.push((id, reason));
                continue;
            }
            Err(e) => {
                moved.unreadable = Some(e);
                continue;
            }
        };
        let content = ContentOctets {
            parts: [&octets, b""],
            checksum: crc32fast::hash(&octets),
        };
        let staged = Staged::write(id, &record.encode(), summary(&record), Some(content), round);
        moved.staged.push(staged);
    }
    moved
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;
    use relay_message::{Envelope, Message, Origin};
    use relay_smtp::ForwardPath;
    use relay_smtp::dsn::DsnRequest;

    use super::*;
    use crate::batch::Batch;
    use crate::committer::Writer;
    use crate::opening::{self, Opened};
    use crate::record::{ContentPlace, Layout};
    use crate::spool::{JournalContent, Prepared};

    const SIZE: u32 = 64 * 1024;

    fn enter(batch: &mut Batch, bits: u64) {
        let to: ForwardPath = "u@b.test".parse().expect("an address");
        let envelope = Envelope {
            sender: "a@b.test".parse().expect("an address"),
            recipients: vec![to.into()],
            eight_bit: false,
            utf8: false,
            dsn: DsnRequest::default(),
        };
        let id = QueueId::from_bits(bits);
        let body = body(bits);
        let size = body.len() as u64;
        let message = Message::new(id, UNIX_EPOCH, Origin::Client, envelope, size);
        let content = JournalContent::new(body.clone(), Bytes::new());
        let layout = Layout {
            place: ContentPlace::Journal,
            head: 0,
            body: size,
            checksum: crc32fast::hash(&body),
        };
        let prepared = Prepared {
            layout,
            content,
            file: None,
        };
        batch.enter(message, prepared);
    }

    fn body(bits: u64) -> Bytes {
        vec![bits.to_le_bytes()[0]; 3000].into()
    }

    fn open(dir: &Path) -> Opened {
        let mut opened = opening::open(dir).expect("opens");
        opened.writer.with_segments_of(SIZE);
        opened
    }

    /// Cleans until there is nothing to do, and returns how many segments were given up.
    fn clean(opened: &mut Opened) -> usize {
        let (mut cleaner, mut given_up) = (Cleaner::default(), 0);
        loop {
            let current = opened.writer.last().segment;
            match cleaner.next_step(&opened.state, current, u64::from(SIZE)) {
                Step::Rest => return given_up,
                Step::AwaitCheckpoint => {
                    opened.indexer.checkpoint_soon();
                    std::thread::yield_now();
                }
                Step::GiveUp(number) => {
                    given_up += 1;
                    opened.writer.give_up(number).expect("given up");
                }
                Step::Move(ids) => {
                    let moved = opened.writer.move_messages(&ids).expect("moved");
                    assert!(moved.damaged.is_empty() && moved.unreadable.is_none());
                }
            }
        }
    }

    fn close(opened: Opened) {
        let Opened {
            writer, indexer, ..
        } = opened;
        indexer.finish();
        writer.close();
    }

    fn write(writer: &mut Writer, batch: Batch, state: &StoreState) {
        writer.write(&batch).expect("written");
        batch.succeed(state);
    }

    /// The index on disk has not seen the end of the journal when the relay is killed.
    #[test]
    fn segments_that_the_index_on_disk_needs_are_kept_after_a_crash() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut opened = open(dir.path());
        let state = std::sync::Arc::clone(&opened.state);
        while state.checkpoints().segment.is_none() {
            std::thread::yield_now();
        }
        for bits in 1..100 {
            let mut batch = Batch::new(state.index().ledger);
            enter(&mut batch, bits);
            if bits > 1 {
                batch.remove(QueueId::from_bits(bits - 1));
            }
            write(&mut opened.writer, batch, &state);
        }
        let known = state.checkpoints().segment;
        assert!(known.is_some_and(|segment| segment + 3 < opened.writer.last().segment));
        drop((opened, state));
        let opened = open(dir.path());
        assert_eq!(opened.state.checkpoints().segment, known);
        assert_eq!(opened.state.index().len(), 1);
        let current = opened.writer.last().segment + 1;
        let step = Cleaner::default().next_step(&opened.state, current, u64::from(SIZE));
        assert!(matches!(step, Step::AwaitCheckpoint), "{step:?}");
        close(opened);
    }

    #[test]
    fn the_journal_stays_small_and_loses_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut opened = open(dir.path());
        let (mut live, mut given_up) = (BTreeSet::new(), 0);
        for round in 0..120u64 {
            let state = std::sync::Arc::clone(&opened.state);
            let mut batch = Batch::new(state.index().ledger);
            for n in 0..5 {
                let bits = round * 5 + n + 1;
                enter(&mut batch, bits);
                live.insert(bits);
            }
            write(&mut opened.writer, batch, &state);
            // Every tenth message stays.
            let gone: Vec<u64> = live.iter().copied().filter(|bits| bits % 10 != 0).collect();
            let mut batch = Batch::new(state.index().ledger);
            for bits in gone {
                live.remove(&bits);
                batch.remove(QueueId::from_bits(bits));
            }
            write(&mut opened.writer, batch, &state);
            given_up += clean(&mut opened);
            let index = state.index();
            let taken: u64 = index.segments.values().map(|segment| segment.length).sum();
            let bound = 2 * index.all_live() + 4 * u64::from(SIZE);
            assert!(taken <= bound, "{round}: {taken} octets, {bound} at most");
        }
        assert!(given_up > 20, "{given_up}");
        close(opened);
        for index_is_lost in [false, true] {
            if index_is_lost {
                std::fs::remove_dir_all(dir.path().join("index")).expect("removed");
            }
            let opened = open(dir.path());
            let ids: Vec<u64> = {
                let index = opened.state.index();
                index.above(None).map(|(id, _)| id.to_bits()).collect()
            };
            assert_eq!(ids, live.iter().copied().collect::<Vec<_>>());
            for bits in ids {
                let found = content::stored(&opened.state, QueueId::from_bits(bits));
                let (_, octets) = found.expect("sound").expect("there");
                assert_eq!(octets, body(bits));
            }
            close(opened);
        }
    }
}
