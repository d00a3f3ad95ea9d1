//! A round: the frames that become durable together.

use super::frame::{FrameHeader, FrameKind, HEADER};

/// Rounds begin at multiples of this. So no write touches a page that has octets of an earlier
/// round: if it fails or is cut by a power loss, they are not in danger.
pub(crate) const PAGE: u32 = 4096;

/// Octets of an empty round's buffer that are kept for the next one.
const KEPT: usize = 1 << 20;

/// What a frame tells of a message beside its record and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FrameState {
    /// Recipients that are not settled.
    pub(crate) outstanding: u32,
    pub(crate) flags: u8,
}

/// A content to be written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ContentOctets<'a> {
    /// Written one after the other.
    pub(crate) parts: [&'a [u8]; 2],
    /// The CRC-32 of the parts.
    pub(crate) checksum: u32,
}

impl ContentOctets<'_> {
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

/// Frames, one after the other. It can be stamped for a segment more than once: after an error the
/// same round goes to another one.
#[derive(Debug, Default)]
pub(crate) struct Round {
    octets: Vec<u8>,
    headers: Vec<(usize, FrameHeader)>,
}

impl Round {
    /// Adds the state of a message. Returns where in the round its frame begins.
    pub(crate) fn message(
        &mut self,
        id: u64,
        summary: FrameState,
        record: &[u8],
        content: ContentOctets<'_>,
    ) -> u32 {
        let [first, second] = content.parts;
        let header = FrameHeader {
            content: length(first.len() + second.len()),
            content_checksum: content.checksum,
            outstanding: summary.outstanding,
            flags: summary.flags,
            ..header(FrameKind::Message, id, record)
        };
        self.frame(header, [record, first, second])
    }

    /// Adds the removal of a message.
    pub(crate) fn removal(&mut self, id: u64) {
        self.frame(header(FrameKind::Removal, id, b""), [b"", b"", b""]);
    }

    /// Adds a note.
    pub(crate) fn note(&mut self, number: u64, value: &[u8]) {
        self.frame(header(FrameKind::Note, number, value), [value, b"", b""]);
    }

    /// Adds the end, and fills the last page.
    pub(crate) fn end(&mut self, state: &[u8]) {
        self.frame(header(FrameKind::RoundEnd, 0, state), [state, b"", b""]);
        let whole = self.octets.len().next_multiple_of(PAGE as usize);
        self.octets.resize(whole, 0);
    }

    fn frame(&mut self, header: FrameHeader, parts: [&[u8]; 3]) -> u32 {
        let at = self.octets.len();
        self.octets.resize(at + HEADER, 0);
        for part in parts {
            self.octets.extend_from_slice(part);
        }
        self.headers.push((at, header));
        length(at)
    }

    /// Writes the headers for a segment with this tag, where the round begins at `start`.
    pub(crate) fn stamp(&mut self, tag: u64, start: u32) {
        for (at, header) in &mut self.headers {
            header.round = start;
            self.octets[*at..*at + HEADER].copy_from_slice(&header.encode(tag));
        }
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Empties it for the next use. A large buffer is given back.
    pub(crate) fn clear(&mut self) {
        self.octets.clear();
        self.octets.shrink_to(KEPT);
        self.headers.clear();
    }
}

fn header(kind: FrameKind, id: u64, record: &[u8]) -> FrameHeader {
    FrameHeader {
        id,
        round: 0,
        record: length(record.len()),
        content: 0,
        record_checksum: crc32fast::hash(record),
        content_checksum: 0,
        outstanding: 0,
        kind,
        flags: 0,
    }
}

/// Rounds are bounded by the committer, far below four gigabytes.
fn length(octets: usize) -> u32 {
    u32::try_from(octets).expect("a round has less than four gigabytes")
}
