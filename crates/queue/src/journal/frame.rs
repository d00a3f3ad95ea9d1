//! Frames: how a change of one message is written into a segment.
//!
//! | offset | octets | what |
//! |---|---|---|
//! | 0 | 8 | the tag of the segment |
//! | 8 | 8 | the queue id, or the number of a note |
//! | 16 | 4 | where in the segment the round begins that this frame belongs to |
//! | 20 | 4 | the length of the record |
//! | 24 | 4 | the length of the content |
//! | 28 | 4 | CRC-32 of the record |
//! | 32 | 4 | CRC-32 of the content |
//! | 36 | 4 | recipients that are not settled |
//! | 40 | 1 | the kind |
//! | 41 | 1 | flags |
//! | 42 | 2 | zero |
//! | 44 | 4 | CRC-32 of the 44 octets before |
//!
//! Numbers are little-endian. Then come the record and the content. The header has its own checksum:
//! if the octets behind it are damaged, it still tells which message they belonged to.
//!
//! A tag is random and used once. So neither what an earlier use of the file has left, nor the text
//! of a message, can pass for a frame.

/// The octets of a header.
pub(crate) const HEADER: usize = 48;

/// What a frame tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// The state of a message: its record, and its content if that is new or moved.
    Message,
    /// The message has left.
    Removal,
    /// A value that the relay keeps in the queue, under a number.
    Note,
    /// The end of a round, with the state of the queue after it. A round without it is incomplete.
    RoundEnd,
}

impl FrameKind {
    const ALL: [Self; 4] = [Self::Message, Self::Removal, Self::Note, Self::RoundEnd];

    fn code(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Removal => 2,
            Self::Note => 3,
            Self::RoundEnd => 4,
        }
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) id: u64,
    pub(crate) round: u32,
    pub(crate) record: u32,
    pub(crate) content: u32,
    pub(crate) record_checksum: u32,
    pub(crate) content_checksum: u32,
    pub(crate) outstanding: u32,
    pub(crate) kind: FrameKind,
    pub(crate) flags: u8,
}

impl FrameHeader {
    pub(crate) fn encode(&self, tag: u64) -> [u8; HEADER] {
        let mut octets = [0; HEADER];
        octets[..8].copy_from_slice(&tag.to_le_bytes());
        octets[8..16].copy_from_slice(&self.id.to_le_bytes());
        let numbers = [
            self.round,
            self.record,
            self.content,
            self.record_checksum,
            self.content_checksum,
            self.outstanding,
        ];
        for (place, number) in octets[16..40].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        octets[40] = self.kind.code();
        octets[41] = self.flags;
        let checksum = crc32fast::hash(&octets[..HEADER - 4]);
        octets[HEADER - 4..].copy_from_slice(&checksum.to_le_bytes());
        octets
    }

    /// Reads a header. Returns `None` if these octets are none of the segment with this tag.
    pub(crate) fn decode(octets: &[u8; HEADER], tag: u64) -> Option<Self> {
        if octets[..8] != tag.to_le_bytes()
            || number(octets, HEADER - 4) != crc32fast::hash(&octets[..HEADER - 4])
        {
            return None;
        }
        let kind = FrameKind::ALL
            .into_iter()
            .find(|kind| kind.code() == octets[40])?;
        Some(Self {
            id: u64::from(number(octets, 8)) | u64::from(number(octets, 12)) << 32,
            round: number(octets, 16),
            record: number(octets, 20),
            content: number(octets, 24),
            record_checksum: number(octets, 28),
            content_checksum: number(octets, 32),
            outstanding: number(octets, 36),
            kind,
            flags: octets[41],
        })
    }

    /// Returns the octets of the whole frame.
    pub(crate) fn length(&self) -> u64 {
        HEADER as u64 + u64::from(self.record) + u64::from(self.content)
    }
}

fn number(octets: &[u8], at: usize) -> u32 {
    let taken = octets[at..].first_chunk().copied();
    u32::from_le_bytes(taken.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: FrameHeader = FrameHeader {
        id: 0x0102_0304_0506_0708,
        round: 4096,
        record: 300,
        content: 70_000,
        record_checksum: 1,
        content_checksum: 2,
        outstanding: 3,
        kind: FrameKind::Message,
        flags: 5,
    };

    #[test]
    fn a_header_comes_back_as_it_was() {
        for kind in FrameKind::ALL {
            let header = FrameHeader { kind, ..SAMPLE };
            assert_eq!(FrameHeader::decode(&header.encode(77), 77), Some(header));
        }
        assert_eq!(SAMPLE.length(), 48 + 300 + 70_000);
    }

    #[test]
    fn the_octets_of_a_header_are_fixed() {
        let mut golden = [0; HEADER];
        golden[..8].copy_from_slice(b"\x4d\0\0\0\0\0\0\0");
        golden[8..16].copy_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01");
        golden[16..24].copy_from_slice(b"\0\x10\0\0\x2c\x01\0\0");
        golden[24..28].copy_from_slice(b"\x70\x11\x01\0");
        golden[28..40].copy_from_slice(b"\x01\0\0\0\x02\0\0\0\x03\0\0\0");
        golden[40..42].copy_from_slice(b"\x01\x05");
        let checksum = crc32fast::hash(&golden[..44]).to_le_bytes();
        golden[44..].copy_from_slice(&checksum);
        assert_eq!(SAMPLE.encode(77), golden);
    }

    #[test]
    fn a_changed_octet_or_another_tag_makes_it_no_header() {
        let octets = SAMPLE.encode(77);
        assert_eq!(FrameHeader::decode(&octets, 78), None);
        for at in 0..HEADER {
            let mut changed = octets;
            changed[at] ^= 0x10;
            assert_eq!(FrameHeader::decode(&changed, 77), None, "{at}");
        }
    }
}
