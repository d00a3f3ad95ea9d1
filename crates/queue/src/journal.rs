//! The journal: the queue on disk.
//!
//! Every durable fact of the queue is appended to it: what enters, what an attempt has changed, what
//! leaves, the books, and the notes of the relay. The database is only an index of it.
//!
//! # Rounds
//!
//! The committer appends what waits as one *round* and calls `fdatasync` once. A round begins at a
//! page, its frames follow each other, and a frame with the books ends it. The next round is written
//! after the `fdatasync` has returned. So all rounds but the last one of a journal are durable, and
//! what is wrong in them is damage. If the last round is incomplete, a crash has cut it. Nothing in
//! it was acknowledged, and it does not count.
//!
//! # Segments
//!
//! | file under `journal/` | what | how it ends |
//! |---|---|---|
//! | `spare` | a preallocated file, or one whose messages have all left. Its octets mean nothing | gets a header and a first round, is synced, gets its number as name, and the directory is synced: a segment |
//! | the highest number | the current segment: rounds are appended | the next one is made when it is full, after an error, and at each start |
//! | lower numbers | full; never written again | see below |
//!
//! The header of a segment says where the rounds of the one before end. What is behind that was never
//! acknowledged.
//!
//! Only the oldest segment is given up, and only if nothing in it is needed. So the frame that removes
//! a message is always there as long as the frame with which it entered. If the segments take more
//! than twice the octets of what is queued, and some more, the live messages of the oldest one are
//! appended anew. Before the file is used again, the loss of its name is durable.
//!
//! # Reading
//!
//! The latest frame of a message tells its state. Frames are values, not differences: a frame may be
//! read twice, or written twice after an error.

mod frame;
mod round;
mod scan;
mod segment;
mod writer;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub(crate) use self::frame::{FrameHeader, FrameKind, HEADER};
pub(crate) use self::round::{ContentOctets, FrameState, Round};
pub(crate) use self::scan::{FoundFrame, scan};
pub(crate) use self::segment::{FirstPage, SegmentHeader, number, open, path, tag_of_first_frame};
pub(crate) use self::writer::{Appended, Journal, directory};

/// A place in the journal. Places rise: a later one has a higher segment or offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

impl Position {
    /// Returns where the content of the frame at this position begins.
    pub(crate) fn behind(self, record_length: u32) -> Self {
        let header = u32::try_from(HEADER).unwrap_or_default();
        Self {
            segment: self.segment,
            offset: self
                .offset
                .saturating_add(header)
                .saturating_add(record_length),
        }
    }
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) tag: u64,
    /// The octets of the file.
    pub(crate) length: u64,
    pub(crate) file: File,
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("its frame in the journal is damaged")]
    Damaged,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Segment {
    /// Reads the header and the record of a frame that is expected at `at`, with a record of this
    /// length.
    pub(crate) fn record(
        &self,
        at: u32,
        length: u32,
    ) -> Result<(FrameHeader, Vec<u8>), FrameError> {
        let mut octets = vec![0; HEADER + length as usize];
        self.read(&mut octets, u64::from(at))?;
        let header = octets
            .first_chunk()
            .and_then(|h| FrameHeader::decode(h, self.tag));
        let record = octets.split_off(HEADER);
        header
            .filter(|h| h.record == length && h.record_checksum == crc32fast::hash(&record))
            .map(|header| (header, record))
            .ok_or(FrameError::Damaged)
    }

    /// Fills the buffer from the segment. A file that is too short is damaged.
    pub(crate) fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), FrameError> {
        self.file
            .read_exact_at(buffer, at)
            .map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => FrameError::Damaged,
                _ => FrameError::Io(e),
            })
    }
}

/// The segments by number, for readers.
pub(crate) type Segments = std::collections::BTreeMap<u32, Arc<Segment>>;

#[cfg(test)]
mod tests;
