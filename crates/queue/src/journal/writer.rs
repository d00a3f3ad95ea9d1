//! The writing end of the journal.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relay_failpoint as failpoint;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::round::{PAGE, Round};
use super::segment::{self, SegmentHeader};
use super::{Position, Segment};

/// The octets of a segment, unless one round needs more: a part of the file system, within bounds.
const SMALLEST: u64 = 1 << 20;
const LARGEST: u64 = 64 << 20;
const PART: u64 = 32;

/// The file that becomes the next segment.
const SPARE: &str = "spare";

/// Appends rounds. Only the committer has it.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    handle: File,
    queue: u64,
    /// The octets of a segment, unless one round needs more.
    size: u32,
    current: Option<Current>,
    /// The number of the latest segment, and where its durable rounds end.
    last: Position,
}

#[derive(Debug)]
struct Current {
    segment: Arc<Segment>,
    end: u32,
    capacity: u32,
}

/// Where a round is now.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) segment: Arc<Segment>,
    /// Where the round begins.
    pub(crate) start: u32,
}

impl Journal {
    /// Continues a journal behind `last`. The first round starts a new segment.
    pub(crate) fn new(dir: PathBuf, queue: u64, last: Position) -> io::Result<Self> {
        let handle = File::open(&dir)?;
        let stat = statvfs(&dir)?;
        let size = stat.f_blocks.saturating_mul(stat.f_frsize) / PART;
        let size = u32::try_from(size.clamp(SMALLEST, LARGEST)).unwrap_or(u32::MAX);
        Ok(Self {
            dir,
            handle,
            queue,
            size,
            current: None,
            last,
        })
    }

    #[cfg(test)]
    pub(crate) fn set_segment_size(&mut self, size: u32) {
        self.size = size;
    }

    /// Returns the octets of a usual segment.
    pub(crate) fn segment_size(&self) -> u64 {
        u64::from(self.size)
    }

    /// Returns the number of the current segment, or of the last one if none is open.
    pub(crate) fn last(&self) -> Position {
        self.last
    }

    /// Whether a segment is open.
    pub(crate) fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// Appends a round and returns when it would survive a power loss. `opening` makes the first
    /// round of a new segment.
    ///
    /// After an error it is not known whether the round is on the disk. The segment is left then, and
    /// the header of the next one says that nothing behind its last durable round counts.
    pub(crate) fn append(
        &mut self,
        round: &mut Round,
        opening: impl FnOnce() -> Round,
    ) -> io::Result<Appended> {
        let length = octets(round);
        let fits = |current: &Current| length <= current.capacity.saturating_sub(current.end);
        let appended = match self.current.take().filter(fits) {
            Some(current) => current.extend(round),
            None => self.begin_segment(round, &mut opening()),
        };
        let (current, start) = appended?;
        let end = current.end;
        let segment = Arc::clone(&current.segment);
        self.last = Position {
            segment: segment.number,
            offset: end,
        };
        self.current = Some(current);
        Ok(Appended { segment, start })
    }

    /// Makes a segment from the spare file.
    fn begin_segment(&self, round: &mut Round, opening: &mut Round) -> io::Result<(Current, u32)> {
        let header = SegmentHeader {
            queue: self.queue,
            tag: fastrand::u64(..),
            number: self.last.segment.checked_add(1).ok_or(Errno::OVERFLOW)?,
            previous_end: self.last.offset,
        };
        let spare = self.dir.join(SPARE);
        failpoint::call("segment-make")?;
        let file = segment::create(&spare)?;
        let start = PAGE + octets(opening);
        let needed = start + octets(round);
        let capacity = allocate(&file, self.size.max(needed), needed)?;
        opening.stamp(header.tag, PAGE);
        round.stamp(header.tag, start);
        let first = [&header.encode(), opening.octets(), round.octets()].concat();
        write(&file, &first, 0)?;
        failpoint::point("segment-written");
        sync(&file)?;
        let path = segment::path(&self.dir, header.number);
        failpoint::call("segment-rename").and_then(|()| fs::rename(&spare, path))?;
        failpoint::point("segment-named");
        self.sync_directory()?;
        let segment = Segment {
            number: header.number,
            tag: header.tag,
            length: u64::from(capacity),
            file,
        };
        let end = start + octets(round);
        let current = Current {
            segment: Arc::new(segment),
            end,
            capacity,
        };
        Ok((current, start))
    }

    /// Gives up the oldest segment. Its file becomes the spare, if there is none.
    pub(crate) fn give_up(&self, number: u32) -> io::Result<()> {
        let (path, spare) = (segment::path(&self.dir, number), self.dir.join(SPARE));
        let length = fs::metadata(&path)?.len();
        if spare.exists() || length != u64::from(self.size) {
            fs::remove_file(&path)?;
        } else {
            fs::rename(&path, &spare)?;
        }
        failpoint::point("segment-given-up");
        self.sync_directory()
    }

    /// Gives the space behind the last round back. No round follows.
    pub(crate) fn close(self) -> io::Result<()> {
        let Some(current) = self.current else {
            return Ok(());
        };
        current.segment.file.set_len(u64::from(current.end))?;
        let spare = self.dir.join(SPARE);
        if spare.exists() {
            fs::remove_file(spare)?;
        }
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        failpoint::call("journal-directory-sync")?;
        self.handle.sync_all()
    }
}

impl Current {
    /// Appends a round. After an error the segment must not be used any more.
    fn extend(mut self, round: &mut Round) -> io::Result<(Self, u32)> {
        let start = self.end;
        round.stamp(self.segment.tag, start);
        write(&self.segment.file, round.octets(), start)?;
        failpoint::point("appended");
        sync(&self.segment.file)?;
        self.end = start + octets(round);
        Ok((self, start))
    }
}

fn octets(round: &Round) -> u32 {
    u32::try_from(round.octets().len()).unwrap_or(u32::MAX)
}

fn write(file: &File, octets: &[u8], at: u32) -> io::Result<()> {
    failpoint::call("journal-write")?;
    file.write_all_at(octets, u64::from(at))
}

fn sync(file: &File) -> io::Result<()> {
    failpoint::call("journal-sync")?;
    if failpoint::leaves_out("fdatasync") {
        return Ok(());
    }
    file.sync_data()
}

/// Reserves the blocks, so that appending changes no metadata of the file and does not run out of
/// space. Returns how many octets it has reserved. On a disk that is nearly full it is content with
/// less: reports and settlements need a segment too.
fn allocate(file: &File, most: u32, least: u32) -> io::Result<u32> {
    failpoint::call("journal-allocate")?;
    let mut length = most;
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, u64::from(length)) {
            Ok(()) => return Ok(length),
            Err(Errno::NOSPC) if length > least => {
                // A part of it may be reserved.
                file.set_len(0)?;
                length = (length / 4).max(least);
            }
            // Not every file system can.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let found = file.metadata()?.len();
                file.set_len(found.max(u64::from(length)))?;
                return Ok(length);
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// Makes the directory of the journal. Returns its path.
pub(crate) fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("journal")
}
