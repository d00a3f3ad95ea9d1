//! Reads the frames of a segment, whatever has happened to it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::frame::{FrameHeader, FrameKind, HEADER};
use super::round::PAGE;

/// Octets that are read at a time.
const WINDOW: usize = 1 << 20;

/// A frame in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundFrame {
    pub(crate) at: u32,
    pub(crate) header: FrameHeader,
    /// Whether record and content have their checksums.
    pub(crate) is_sound: bool,
    /// The record of a note or of the end of a round.
    pub(crate) value: Vec<u8>,
}

/// What is in a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The frames that count, in their order.
    pub(crate) frames: Vec<FoundFrame>,
    /// What cannot be read, before `end`.
    pub(crate) damage: Vec<Range<u32>>,
    /// Where the rounds that count end.
    pub(crate) end: u32,
}

/// Reads a segment from `start` on, which is 0 or where a round begins. `end` is where its rounds
/// end, if the next segment tells it.
pub(crate) fn scan(file: &File, tag: u64, start: u32, end: Option<u32>) -> io::Result<Scan> {
    let start = start.max(PAGE);
    let length = u32::try_from(file.metadata()?.len()).unwrap_or(u32::MAX);
    let mut window = Window {
        file,
        limit: length.min(end.unwrap_or(length)),
        start: 0,
        octets: Vec::new(),
    };
    let mut scan = Scan {
        end: start,
        ..Scan::default()
    };
    let mut at = start;
    while at < window.limit {
        if let Some(found) = window.frame(at, tag)? {
            let next = found.next();
            scan.frames.push(found);
            at = next;
            continue;
        }
        match window.next_frame(at + 1, tag)? {
            Some(next) => {
                scan.damage.push(at..next);
                at = next;
            }
            None => break,
        }
    }
    if let Some(end) = end {
        if at < end {
            scan.damage.push(at..end);
        }
        scan.end = end.max(start);
    } else {
        scan.drop_incomplete_round();
    }
    Ok(scan)
}

impl FoundFrame {
    /// Returns where the next frame begins.
    fn next(&self) -> u32 {
        let end = u64::from(self.at) + self.header.length();
        let end = match self.header.kind {
            FrameKind::RoundEnd => end.next_multiple_of(u64::from(PAGE)),
            _ => end,
        };
        u32::try_from(end).unwrap_or(u32::MAX)
    }
}

impl Scan {
    /// The last round counts only if it is complete: nothing tells whether it became durable.
    fn drop_incomplete_round(&mut self) {
        let Some(round) = self.frames.iter().map(|found| found.header.round).max() else {
            self.damage.clear();
            return;
        };
        let mut next = round;
        let mut is_whole = false;
        for found in self.frames.iter().filter(|f| f.header.round == round) {
            if found.at != next || !found.is_sound || is_whole {
                is_whole = false;
                break;
            }
            next = found.next();
            is_whole = found.header.kind == FrameKind::RoundEnd;
        }
        if !is_whole {
            self.frames.retain(|found| found.header.round < round);
        }
        self.end = if is_whole { next } else { round };
        let end = self.end;
        self.damage.retain(|range| range.start < end);
        if let Some(last) = self.damage.last_mut() {
            last.end = last.end.min(end);
        }
    }
}

/// A part of the file in memory.
struct Window<'a> {
    file: &'a File,
    /// Nothing behind this is read.
    limit: u32,
    start: u32,
    octets: Vec<u8>,
}

impl Window<'_> {
    /// Returns these octets, or `None` if they are not before the limit.
    fn slice(&mut self, at: u32, length: usize) -> io::Result<Option<&[u8]>> {
        let end = at as usize + length;
        if end > self.limit as usize {
            return Ok(None);
        }
        let start = self.start as usize;
        if (at as usize) < start || end > start + self.octets.len() {
            let most = self.limit as usize - at as usize;
            self.octets.resize(length.max(WINDOW).min(most), 0);
            self.start = at;
            self.file.read_exact_at(&mut self.octets, u64::from(at))?;
        }
        let from = (at - self.start) as usize;
        Ok(Some(&self.octets[from..from + length]))
    }

    fn frame(&mut self, at: u32, tag: u64) -> io::Result<Option<FoundFrame>> {
        let octets = self.slice(at, HEADER)?;
        let header = octets
            .and_then(|octets| octets.first_chunk())
            .and_then(|octets| FrameHeader::decode(octets, tag));
        let Some(header) = header else {
            return Ok(None);
        };
        let (record, content) = (header.record as usize, header.content as usize);
        let Some(frame) = self.slice(at, HEADER + record + content)? else {
            return Ok(None);
        };
        let (record, content) = frame[HEADER..].split_at(record);
        let is_sound = crc32fast::hash(record) == header.record_checksum
            && (content.is_empty() || crc32fast::hash(content) == header.content_checksum);
        let has_value = matches!(header.kind, FrameKind::Note | FrameKind::RoundEnd);
        Ok(Some(FoundFrame {
            at,
            is_sound,
            value: if has_value {
                record.to_vec()
            } else {
                Vec::new()
            },
            header,
        }))
    }

    /// Finds the next frame, at any offset from `from` on.
    fn next_frame(&mut self, from: u32, tag: u64) -> io::Result<Option<u32>> {
        let tag_octets = tag.to_le_bytes();
        let mut at = from;
        while at < self.limit {
            let length = WINDOW.min((self.limit - at) as usize);
            let Some(octets) = self.slice(at, length)? else {
                break;
            };
            let Some(found) = memchr::memmem::find(octets, &tag_octets) else {
                if length < WINDOW {
                    break;
                }
                // The tag may begin in this window and end in the next one.
                at += u32::try_from(length - (tag_octets.len() - 1)).unwrap_or(u32::MAX);
                continue;
            };
            at += u32::try_from(found).unwrap_or(u32::MAX);
            if self.frame(at, tag)?.is_some() {
                return Ok(Some(at));
            }
            at += 1;
        }
        Ok(None)
    }
}
