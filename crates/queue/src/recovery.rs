//! Finds out what is in the queue, at a start or for a check.
//!
//! The index on disk, if it can be used, tells the state at its checkpoint, and the journal what came
//! after it. Without an index the whole journal is read. This changes nothing on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use relay_message::{QueueId, StoreError};

use crate::checkpoint::{Checkpoint, Unusable};
use crate::content::Damage;
use crate::index::{Change, Entry, Index};
use crate::journal::{
    self, FirstPage, FoundFrame, FrameKind, Position, Segment, SegmentHeader, number, scan,
    tag_of_first_frame,
};
use crate::record::Ledger;
use crate::round_state::RoundState;
use crate::spool::io_error;

/// The state of a queue as it was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// The id of the queue, if there is one.
    pub(crate) queue: Option<u64>,
    /// The highest segment, and where its rounds end.
    pub(crate) last: Position,
    /// Where the index on disk is, if it was used.
    pub(crate) checkpoint: Option<Position>,
    /// The highest generation in the journal or of the index.
    pub(crate) generation: u64,
    pub(crate) last_id: Option<QueueId>,
    /// Why the index on disk was not used; `None` if it was.
    pub(crate) rebuilt: Option<Unusable>,
    /// Messages that are damaged or whose segment is missing.
    pub(crate) damaged: Vec<(QueueId, String)>,
    /// Parts of segments that cannot be read.
    pub(crate) stretches: Vec<(Arc<Segment>, Range<u32>)>,
    /// Segments that are missing or that cannot be read at all, and may have had messages that the
    /// index on disk does not know.
    pub(crate) missing: Vec<RangeInclusive<u32>>,
    /// Files of segments that cannot be read at all.
    pub(crate) unreadable: Vec<u32>,
    /// Recipients that the books have and no message.
    pub(crate) unaccounted: u64,
}

impl Recovered {
    /// Whether no part of the journal is lost.
    pub(crate) fn is_complete(&self) -> bool {
        self.stretches.is_empty()
            && self.missing.is_empty()
            && self.unreadable.is_empty()
            && self.unaccounted == 0
    }
}

/// What the index on disk tells.
pub(crate) type FromDisk = Result<(Checkpoint, Vec<(QueueId, Entry)>), Unusable>;

/// Reads the journal in this directory, on top of the index on disk.
pub(crate) fn recover(dir: &Path, disk: FromDisk) -> Result<Recovered, StoreError> {
    let found = Segments::find(dir)?;
    let reading = |e| io_error("reading", dir, e);
    let rebuild = |reason| {
        let mut replay = Replay::default();
        replay.index.segments = found.open();
        replay.run(&found, Position::default())?;
        Ok((replay, Some(reason)))
    };
    let replayed: io::Result<(Replay, Option<Unusable>)> = match disk {
        Err(reason) => rebuild(reason),
        Ok((checkpoint, _)) if found.queue.is_some_and(|queue| queue != checkpoint.queue) => {
            rebuild(Unusable::OtherQueue)
        }
        Ok((checkpoint, entries)) => {
            let known = checkpoint.generation;
            let mut replay = Replay::on_top_of(checkpoint, entries, &found);
            let position = replay.index.end;
            replay.run(&found, position).map_err(reading)?;
            if replay.generation > known {
                rebuild(Unusable::Outdated)
            } else {
                Ok((replay, None))
            }
        }
    };
    let (replay, reason) = replayed.map_err(reading)?;
    Ok(replay.finish(&found, reason))
}

/// The segments of a journal.
#[derive(Debug, Default)]
struct Segments {
    queue: Option<u64>,
    /// Those that can be read.
    readable: BTreeMap<u32, Readable>,
    /// Those of which nothing can be read.
    unreadable: BTreeSet<u32>,
}

#[derive(Debug)]
struct Readable {
    segment: Arc<Segment>,
    /// Where the rounds of the segment before end, if its header can be read.
    previous_end: Option<u32>,
}

impl Segments {
    fn find(dir: &Path) -> Result<Self, StoreError> {
        let reading = |e| io_error("reading the directory", dir, e);
        let names = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            listed => listed.map_err(reading)?,
        };
        let mut numbers = BTreeSet::new();
        for name in names {
            let name = name.map_err(reading)?.file_name();
            numbers.extend(name.to_str().and_then(number));
        }
        let mut found = Self::default();
        // The highest one decides which queue this is.
        for number in numbers.into_iter().rev() {
            found.add(dir, number)?;
        }
        Ok(found)
    }

    fn add(&mut self, dir: &Path, number: u32) -> Result<(), StoreError> {
        let path = journal::path(dir, number);
        let opening = |e| io_error("opening", &path, e);
        let file = journal::open(&path).map_err(opening)?;
        let length = file.metadata().map_err(opening)?.len();
        let (tag, previous_end) = match SegmentHeader::read(&file).map_err(opening)? {
            FirstPage::Later(version) => {
                return Err(StoreError::Database {
                    doing: format!("reading {}", path.display()),
                    reason: format!(
                        "the segment has layout {:?}, of a later relayd",
                        char::from(version)
                    ),
                });
            }
            FirstPage::FrameHeader(header) => {
                let queue = *self.queue.get_or_insert(header.queue);
                let is_ours = header.number == number && header.queue == queue;
                (is_ours.then_some(header.tag), Some(header.previous_end))
            }
            FirstPage::Damaged => (tag_of_first_frame(&file).map_err(opening)?, None),
        };
        let Some(tag) = tag else {
            self.unreadable.insert(number);
            return Ok(());
        };
        let segment = Arc::new(Segment {
            number,
            tag,
            length,
            file,
        });
        let readable = Readable {
            segment,
            previous_end,
        };
        self.readable.insert(number, readable);
        Ok(())
    }

    fn open(&self) -> journal::Segments {
        let segments = self.readable.iter();
        segments
            .map(|(&number, readable)| (number, Arc::clone(&readable.segment)))
            .collect()
    }

    fn highest(&self) -> u32 {
        let readable = self.readable.last_key_value().map(|(&number, _)| number);
        let unreadable = self.unreadable.last().copied();
        readable.max(unreadable).unwrap_or_default()
    }

    /// Returns where the rounds of a segment end, if the next one tells it.
    fn end_of(&self, number: u32) -> Option<u32> {
        let next = self.readable.get(&number.checked_add(1)?)?;
        next.previous_end
    }

    /// Whether a place is in a segment that is there.
    fn check(&self, place: Position, length: u64) -> Result<(), Damage> {
        let segment = self.readable.get(&place.segment);
        let segment = segment.ok_or(Damage::NoSegment(place.segment))?;
        if u64::from(place.offset) + length > segment.segment.length {
            return Err(Damage::Cut(place.segment));
        }
        Ok(())
    }
}

/// The state while the journal is read.
#[derive(Debug, Default)]
struct Replay {
    index: Index,
    /// The queue of the index on disk, and where that is.
    queue: Option<u64>,
    checkpoint: Option<Position>,
    generation: u64,
    last_id: Option<QueueId>,
    /// Messages whose latest frame is damaged.
    suspects: BTreeSet<QueueId>,
    stretches: Vec<(Arc<Segment>, Range<u32>)>,
    missing: Vec<RangeInclusive<u32>>,
    last: Position,
}

impl Replay {
    fn on_top_of(checkpoint: Checkpoint, entries: Vec<(QueueId, Entry)>, found: &Segments) -> Self {
        let mut index = Index::default();
        for (id, entry) in entries {
            index.load(id, entry);
        }
        index.segments = found.open();
        index.ledger = checkpoint.ledger;
        index.notes = checkpoint.notes;
        index.end = checkpoint.position;
        Self {
            index,
            queue: Some(checkpoint.queue),
            checkpoint: Some(checkpoint.position),
            generation: checkpoint.generation,
            last_id: checkpoint.last_id,
            last: checkpoint.position,
            ..Self::default()
        }
    }

    /// Reads all segments from this position on.
    fn run(&mut self, found: &Segments, from: Position) -> io::Result<()> {
        let mut expected = from.segment;
        for (&number, readable) in found.readable.range(from.segment..) {
            // The oldest segment may have any number.
            if expected > 0 && expected < number {
                self.missing.push(expected..=number - 1);
            }
            expected = number.saturating_add(1);
            let start = if number == from.segment {
                from.offset
            } else {
                0
            };
            let segment = &readable.segment;
            let scan = scan(&segment.file, segment.tag, start, found.end_of(number))?;
            for frame in &scan.frames {
                self.read(number, frame);
            }
            for stretch in scan.damage {
                self.stretches.push((Arc::clone(segment), stretch));
            }
            self.last = Position {
                segment: number,
                offset: scan.end,
            };
        }
        self.index.end = self.last;
        Ok(())
    }

    fn read(&mut self, segment: u32, found: &FoundFrame) {
        let header = &found.header;
        let id = QueueId::from_bits(header.id);
        match header.kind {
            FrameKind::Message => {
                self.last_id = self.last_id.max(Some(id));
                self.index.apply(self.put(id, segment, found));
                if found.is_sound {
                    self.suspects.remove(&id);
                } else {
                    self.suspects.insert(id);
                }
            }
            FrameKind::Removal => {
                self.last_id = self.last_id.max(Some(id));
                self.index.apply(Change::Remove(id));
                self.suspects.remove(&id);
            }
            FrameKind::Note if found.is_sound => {
                let value = Bytes::copy_from_slice(&found.value);
                self.index.notes.insert(header.id, value);
            }
            FrameKind::RoundEnd if found.is_sound => {
                if let Some(state) = RoundState::decode(&found.value) {
                    self.generation = self.generation.max(state.generation);
                    self.index.ledger = state.ledger;
                }
            }
            // The next round has them too.
            FrameKind::Note | FrameKind::RoundEnd => {}
        }
    }

    fn put(&self, id: QueueId, segment: u32, found: &FoundFrame) -> Change {
        let header = &found.header;
        let record = Position {
            segment,
            offset: found.at,
        };
        let (content, content_length) = if header.content > 0 {
            (record.behind(header.record), header.content)
        } else {
            let old = self.index.get(id);
            old.map_or((Position::default(), 0), |old| {
                (old.content, old.content_length)
            })
        };
        let entry = Entry {
            record,
            record_length: header.record,
            content,
            content_length,
            outstanding: header.outstanding,
            flags: header.flags,
        };
        Change::Put(id, entry)
    }

    fn finish(mut self, found: &Segments, rebuilt: Option<Unusable>) -> Recovered {
        let mut damaged = BTreeMap::new();
        for (id, entry) in self.index.above(None) {
            if let Err(damage) = check(&entry, found) {
                damaged.insert(id, damage.to_string());
            }
        }
        for id in self.suspects {
            damaged
                .entry(id)
                .or_insert_with(|| Damage::Record.to_string());
        }
        let queued = self.index.outstanding();
        let unaccounted = self.index.ledger.books.queued().saturating_sub(queued);
        balance(&mut self.index.ledger, queued);
        Recovered {
            index: self.index,
            queue: found.queue.or(self.queue),
            last: Position {
                segment: self.last.segment.max(found.highest()),
                ..self.last
            },
            checkpoint: self.checkpoint,
            generation: self.generation,
            last_id: self.last_id,
            rebuilt,
            damaged: damaged.into_iter().collect(),
            stretches: self.stretches,
            missing: self.missing,
            unreadable: found.unreadable.iter().copied().collect(),
            unaccounted,
        }
    }
}

fn check(entry: &Entry, found: &Segments) -> Result<(), Damage> {
    let record = journal::HEADER as u64 + u64::from(entry.record_length);
    found.check(entry.record, record)?;
    if entry.content_length > 0 {
        found.check(entry.content, u64::from(entry.content_length))?;
    }
    Ok(())
}

/// Counts recipients that no message has as set aside.
fn balance(ledger: &mut Ledger, queued: u64) {
    ledger.books.balance(queued);
    ledger.is_short = false;
}
