//! Segments: the files of the journal.
//!
//! The first page is the header of the segment, in two copies, so that one changed octet costs
//! nothing:
//!
//! | offset | octets | what |
//! |---|---|---|
//! | 0 | 16 | `relayd journal 1`: the version of the layout |
//! | 16 | 8 | the id of the queue |
//! | 24 | 8 | the tag of the segment |
//! | 32 | 4 | the number of the segment |
//! | 36 | 4 | where in the segment before the rounds end; 0 if there is none |
//! | 40 | 4 | CRC-32 of the 40 octets before |
//!
//! The file has the number as its name, in eight hexadecimal digits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::frame::HEADER;
use super::round::PAGE;

const MAGIC: &[u8; 15] = b"relayd journal ";
const VERSION: u8 = b'1';
const LENGTH: usize = 44;
/// Where the copies begin.
const COPIES: [u64; 2] = [0, 2048];

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) queue: u64,
    pub(crate) tag: u64,
    pub(crate) number: u32,
    pub(crate) previous_end: u32,
}

/// What the first page of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstPage {
    FrameHeader(SegmentHeader),
    /// Both copies are damaged.
    Damaged,
    /// A later relayd has written it, whose layout has this version.
    Later(u8),
}

impl SegmentHeader {
    /// Returns the first page.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(LENGTH);
        copy.extend_from_slice(MAGIC);
        copy.push(VERSION);
        copy.extend_from_slice(&self.queue.to_le_bytes());
        copy.extend_from_slice(&self.tag.to_le_bytes());
        copy.extend_from_slice(&self.number.to_le_bytes());
        copy.extend_from_slice(&self.previous_end.to_le_bytes());
        let checksum = crc32fast::hash(&copy);
        copy.extend_from_slice(&checksum.to_le_bytes());
        let mut page = vec![0; PAGE as usize];
        for at in [0, 2048] {
            page[at..at + LENGTH].copy_from_slice(&copy);
        }
        page
    }

    pub(crate) fn read(file: &File) -> io::Result<FirstPage> {
        for at in COPIES {
            let mut copy = [0; LENGTH];
            match file.read_exact_at(&mut copy, at) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => continue,
                read => read?,
            }
            match Self::decode(&copy) {
                FirstPage::Damaged => {}
                found => return Ok(found),
            }
        }
        Ok(FirstPage::Damaged)
    }

    fn decode(copy: &[u8; LENGTH]) -> FirstPage {
        let (octets, checksum) = copy.split_at(LENGTH - 4);
        if checksum != crc32fast::hash(octets).to_le_bytes() || !octets.starts_with(MAGIC) {
            return FirstPage::Damaged;
        }
        // The checksum is right, so the version is what was written.
        if octets[MAGIC.len()] != VERSION {
            return FirstPage::Later(octets[MAGIC.len()]);
        }
        let long = |at: usize| octets[at..].first_chunk().copied().map(u64::from_le_bytes);
        let short = |at: usize| octets[at..].first_chunk().copied().map(u32::from_le_bytes);
        let header = || {
            Some(Self {
                queue: long(16)?,
                tag: long(24)?,
                number: short(32)?,
                previous_end: short(36)?,
            })
        };
        header().map_or(FirstPage::Damaged, FirstPage::FrameHeader)
    }
}

/// The tag in the first frame, for a segment whose header is damaged. The text of a message cannot be
/// in this place.
pub(crate) fn tag_of_first_frame(file: &File) -> io::Result<Option<u64>> {
    let mut octets = [0; HEADER];
    match file.read_exact_at(&mut octets, u64::from(PAGE)) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let tag = octets.first_chunk().copied().map(u64::from_le_bytes);
    Ok(tag.filter(|&tag| super::frame::FrameHeader::decode(&octets, tag).is_some()))
}

/// Returns the path of a segment.
pub(crate) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08x}"))
}

/// Returns the number in the name of a segment.
pub(crate) fn number(name: &str) -> Option<u32> {
    let number = u32::from_str_radix(name, 16).ok()?;
    (format!("{number:08x}") == name).then_some(number)
}

pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
