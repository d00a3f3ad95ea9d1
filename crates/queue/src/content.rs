//! Reads records and contents from the journal and from body files, and checks them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use relay_message::{Body, Content, QueueId, StoreError};

use crate::journal::FrameError;
use crate::record::{ContentPlace, Layout, Record};
use crate::spool::io_error;
use crate::store_state::{Located, StoreState};

/// Octets of a file that are read at a time.
const CHUNK: usize = 64 * 1024;

/// How a message differs from what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("its segment {0:08x} of the journal is missing")]
    NoSegment(u32),
    #[error("its segment {0:08x} of the journal ends before it")]
    Cut(u32),
    #[error("its record in the journal is damaged")]
    Record,
    #[error("{0}")]
    Encoding(String),
    #[error("its content does not have the length in its record")]
    ContentLength,
    #[error("its head does not have the length in its record")]
    HeadLength,
    #[error("its head is too long")]
    LongHead,
    #[error("its body file is missing")]
    NoFile,
    #[error("its body file has {found} octets, not {expected}")]
    FileLength { found: u64, expected: u64 },
    #[error("its content does not have the checksum in its record")]
    Checksum,
}

/// Why a message cannot be read.
enum Unreadable {
    Damaged(Damage),
    Store(StoreError),
}

impl From<Damage> for Unreadable {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<StoreError> for Unreadable {
    fn from(reason: StoreError) -> Self {
        Self::Store(reason)
    }
}

/// Returns the record of a message, or `None` if it is not in the queue. Fails with
/// [`StoreError::Damaged`] if it is damaged.
pub(crate) fn record(state: &StoreState, id: QueueId) -> Result<Option<Record>, StoreError> {
    read(state, id, |located| located.record(id))
}

/// Returns the record and the content of a message, or `None` if it is not in the queue. This may
/// wait for the disk. Fails with [`StoreError::Damaged`] if they are damaged.
pub(crate) fn message(
    state: &StoreState,
    id: QueueId,
) -> Result<Option<(Record, Content)>, StoreError> {
    read(state, id, |located| {
        let record = located.record(id)?;
        let content = located.content(&record.layout, &state.body(id))?;
        Ok((record, content))
    })
}

/// Returns the record of a message and what the journal has of its content, or `None` if it is not
/// in the queue. Fails with [`StoreError::Damaged`] if they are damaged.
pub(crate) fn stored(
    state: &StoreState,
    id: QueueId,
) -> Result<Option<(Record, Bytes)>, StoreError> {
    read(state, id, |located| {
        let record = located.record(id)?;
        let octets = located.octets()?;
        if record.layout.place == ContentPlace::Journal {
            inline(&record.layout, octets.clone())?;
        }
        Ok((record, octets))
    })
}

/// Reads something of a message. If it was moved or changed during that, it is read again.
fn read<T>(
    state: &StoreState,
    id: QueueId,
    part: impl Fn(&Located) -> Result<T, Unreadable>,
) -> Result<Option<T>, StoreError> {
    let mut located = state.locate(id);
    loop {
        let Some(now) = &located else {
            return Ok(None);
        };
        let damage = match part(now) {
            Ok(read) => return Ok(Some(read)),
            Err(Unreadable::Store(reason)) => return Err(reason),
            Err(Unreadable::Damaged(damage)) => damage,
        };
        let again = state.locate(id);
        if again.as_ref().is_some_and(|again| again.is_same(now)) {
            let reason = damage.to_string();
            return Err(StoreError::Damaged { id, reason });
        }
        located = again;
    }
}

impl Located {
    fn is_same(&self, other: &Self) -> bool {
        (self.entry.record, self.entry.content) == (other.entry.record, other.entry.content)
    }

    fn record(&self, id: QueueId) -> Result<Record, Unreadable> {
        let (place, length) = (self.entry.record, self.entry.record_length);
        let segment = self.record.as_ref();
        let segment = segment.ok_or(Damage::NoSegment(place.segment))?;
        let (header, octets) = segment
            .record(place.offset, length)
            .map_err(|e| unreadable(e, Damage::Record))?;
        if header.id != id.to_bits() {
            return Err(Damage::Record.into());
        }
        let record = Record::decode(id, &octets);
        Ok(record.map_err(|e| Damage::Encoding(e.to_string()))?)
    }

    /// Reads and checks head and body.
    fn content(&self, layout: &Layout, body: &Path) -> Result<Content, Unreadable> {
        match layout.place {
            ContentPlace::Journal => inline(layout, self.octets()?).map_err(Unreadable::from),
            ContentPlace::BodyFile => with_file(layout, self.octets()?, body),
            ContentPlace::WholeFile => whole_file(layout, body),
        }
    }

    /// Returns the octets that the journal has of the content, unchecked.
    fn octets(&self) -> Result<Bytes, Unreadable> {
        let (place, length) = (self.entry.content, self.entry.content_length);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let segment = self.content.as_ref();
        let segment = segment.ok_or(Damage::NoSegment(place.segment))?;
        let mut octets = vec![0; length as usize];
        segment
            .read(&mut octets, u64::from(place.offset))
            .map_err(|e| unreadable(e, Damage::ContentLength))?;
        Ok(octets.into())
    }

    /// Returns what there is of the record and the content, whatever its state.
    pub(crate) fn remains(&self) -> (Vec<u8>, Vec<u8>) {
        let mut record = vec![0; self.entry.record_length as usize];
        let at = u64::from(self.entry.record.offset) + crate::journal::HEADER as u64;
        let read = self.record.as_ref().map(|s| s.read(&mut record, at));
        if !matches!(read, Some(Ok(()))) {
            record.clear();
        }
        let content = self.octets().map(Vec::from).unwrap_or_default();
        (record, content)
    }
}

fn unreadable(error: FrameError, damage: Damage) -> Unreadable {
    match error {
        FrameError::Damaged => damage.into(),
        FrameError::Io(e) => io_error("reading", Path::new("the journal"), e).into(),
    }
}

/// Returns the expected length of the body file.
pub(crate) fn file_length(layout: &Layout) -> u64 {
    match layout.place {
        ContentPlace::Journal => 0,
        ContentPlace::BodyFile => layout.body,
        ContentPlace::WholeFile => layout.size(),
    }
}

/// In the journal the body comes first, as in [`Layout::checksum`].
fn inline(layout: &Layout, stored: Bytes) -> Result<Content, Damage> {
    if stored.len() as u64 != layout.size() {
        return Err(Damage::ContentLength);
    }
    if crc32fast::hash(&stored) != layout.checksum {
        return Err(Damage::Checksum);
    }
    let mut body = stored;
    let head = body.split_off(usize::try_from(layout.body).map_err(|_| Damage::LongHead)?);
    Ok(Content {
        head,
        body: Body::Inline(body),
    })
}

fn with_file(layout: &Layout, head: Bytes, path: &Path) -> Result<Content, Unreadable> {
    if head.len() as u64 != layout.head {
        return Err(Damage::HeadLength.into());
    }
    file(layout, path, |_| Ok(head))
}

fn whole_file(layout: &Layout, path: &Path) -> Result<Content, Unreadable> {
    file(layout, path, |file| {
        // The length of the file is already checked.
        let length = usize::try_from(layout.head).map_err(io::Error::other)?;
        let mut head = vec![0; length];
        file.read_exact_at(&mut head, layout.body)?;
        Ok(head.into())
    })
}

fn file(
    layout: &Layout,
    path: &Path,
    head: impl FnOnce(&File) -> io::Result<Bytes>,
) -> Result<Content, Unreadable> {
    let expected = file_length(layout);
    let reading = |e| io_error("reading the body file", path, e);
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Damage::NoFile.into());
        }
        opened => opened.map_err(reading)?,
    };
    let found = file.metadata().map_err(reading)?.len();
    if found != expected {
        return Err(Damage::FileLength { found, expected }.into());
    }
    let head = head(&file).map_err(reading)?;
    let mut checksum = file_checksum(&file, layout.body).map_err(reading)?;
    checksum.update(&head);
    if checksum.finalize() != layout.checksum {
        return Err(Damage::Checksum.into());
    }
    let body = Body::File {
        file: Arc::new(file),
        length: layout.body,
    };
    Ok(Content { head, body })
}

/// Does not move the position of the file, which stays at the start.
fn file_checksum(file: &File, length: u64) -> io::Result<crc32fast::Hasher> {
    let (mut checksum, mut chunk, mut offset) = (crc32fast::Hasher::new(), vec![0; CHUNK], 0);
    while offset < length {
        let most = usize::try_from(length - offset).map_or(CHUNK, |left| left.min(CHUNK));
        file.read_exact_at(&mut chunk[..most], offset)?;
        checksum.update(&chunk[..most]);
        offset += most as u64;
    }
    Ok(checksum)
}
