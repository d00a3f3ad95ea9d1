//! Finds and changes frames in the journal of a closed queue. The layout is the one that
//! `src/journal/frame.rs` documents.

use std::fs;
use std::path::{Path, PathBuf};

use relay_message::{Message, QueueId};

/// The octets of a header.
const HEADER: usize = 48;
const RECORD_LENGTH: usize = 20;
const CONTENT_LENGTH: usize = 24;
const RECORD_CHECKSUM: usize = 28;
const KIND: usize = 40;
const HEADER_CHECKSUM: usize = 44;
const MESSAGE: u8 = 1;

/// A frame of a message.
#[derive(Debug, Clone)]
pub struct Frame {
    pub path: PathBuf,
    pub at: usize,
    pub record: usize,
    pub content: usize,
}

/// Returns the paths of all segments.
pub fn segments(state_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state_dir.join("journal")).expect("a journal");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.file_name().is_some_and(|name| name != "spare"))
        .collect();
    paths.sort();
    paths
}

/// Returns all frames with the state of this message, in their order.
pub fn frames(state_dir: &Path, id: QueueId) -> Vec<Frame> {
    let mut frames = Vec::new();
    for path in segments(state_dir) {
        let octets = fs::read(&path).expect("a segment");
        let id = id.to_bits().to_le_bytes();
        for at in 0..octets.len().saturating_sub(HEADER) {
            let header = &octets[at..at + HEADER];
            if header[8..16] == id
                && header[KIND] == MESSAGE
                && number(header, HEADER_CHECKSUM) == crc32fast::hash(&header[..HEADER_CHECKSUM])
            {
                frames.push(Frame {
                    path: path.clone(),
                    at,
                    record: number(header, RECORD_LENGTH) as usize,
                    content: number(header, CONTENT_LENGTH) as usize,
                });
            }
        }
    }
    frames
}

/// Returns the frame with the latest record of this message.
pub fn latest(state_dir: &Path, message: &Message) -> Frame {
    let frames = frames(state_dir, message.id);
    frames.last().expect("a frame of the message").clone()
}

impl Frame {
    fn change(&self, change: impl FnOnce(&mut [u8])) {
        let mut octets = fs::read(&self.path).expect("a segment");
        change(&mut octets[self.at..]);
        fs::write(&self.path, octets).expect("written");
    }

    pub fn flip_header(&self) {
        self.change(|octets| octets[9] ^= 1);
    }

    pub fn flip_record(&self) {
        self.change(|octets| octets[HEADER + 3] ^= 1);
    }

    pub fn flip_content(&self) {
        assert!(self.content > 7, "there is a content");
        self.change(|octets| octets[HEADER + self.record + 7] ^= 1);
    }

    /// Changes the record, with the right checksums.
    pub fn rewrite_record(&self, change: impl FnOnce(&mut [u8])) {
        self.change(|octets| {
            change(&mut octets[HEADER..HEADER + self.record]);
            let checksum = crc32fast::hash(&octets[HEADER..HEADER + self.record]);
            octets[RECORD_CHECKSUM..RECORD_CHECKSUM + 4].copy_from_slice(&checksum.to_le_bytes());
            let checksum = crc32fast::hash(&octets[..HEADER_CHECKSUM]);
            octets[HEADER_CHECKSUM..HEADER].copy_from_slice(&checksum.to_le_bytes());
        });
    }
}

/// Loses the index on disk.
pub fn lose_index(state_dir: &Path) {
    fs::remove_dir_all(state_dir.join("index")).expect("an index");
}

fn number(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().expect("four octets"))
}
