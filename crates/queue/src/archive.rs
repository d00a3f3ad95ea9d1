//! A queue as a stream of octets, to be moved to another machine.
//!
//! ```text
//! relayd queue 1
//! message ID RECORD HEAD BODY     the lengths of what follows, in octets
//! …record…head…body…
//! sum CRC                         CRC-32 of all since "message", 8 hexadecimal digits
//! message …                       and so on
//! end MESSAGES DAMAGED            how many are above, and how many could not be read
//! ```
//!
//! Lines end with LF. A record is what lies in the database, as its own first octet says in which
//! layout: arrival, sender, recipients with their state and attempts, and what was asked of reports.
//! Head and body are the message as it goes out, without dot-stuffing. After `end` the stream is over,
//! or another begins.

mod import;
mod reader;

use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use relay_message::{Body, Content, QueueId, StoreError};

pub use self::import::{End, Imported, import};
use crate::record::Record;
use crate::sled_store::SledStore;

/// The first line.
const TITLE: &str = "relayd queue 1\n";
/// Octets of a body that are read at once.
const CHUNK: usize = 64 * 1024;

/// How a stream begins.
pub fn title() -> Bytes {
    Bytes::from_static(TITLE.as_bytes())
}

/// How a stream ends: with so many messages, and so many left out because they were damaged.
pub fn end(messages: u64, damaged: u64) -> Bytes {
    format!("end {messages} {damaged}\n").into()
}

/// One message of a stream, piece by piece.
#[derive(Debug)]
pub struct Pieces {
    /// What comes before a body that is a file, or all there is.
    first: Vec<u8>,
    file: Option<Rest>,
}

/// What is still to be read.
#[derive(Debug)]
struct Rest {
    file: Arc<File>,
    at: u64,
    left: u64,
    checksum: crc32fast::Hasher,
}

impl SledStore {
    /// The message as a stream has it, as it is now, whoever works on it; `None` if it is gone.
    /// [`StoreError::Damaged`] if it was found to be so, and has been set aside.
    pub async fn export(&self, id: QueueId) -> Result<Option<Pieces>, StoreError> {
        let stored = self.stored(id).await?;
        Ok(stored.map(|(record, content)| Pieces::of(&record, content)))
    }
}

impl Pieces {
    fn of(record: &Record, content: Content) -> Self {
        let (id, body) = (record.message.id, record.layout.body);
        let (octets, head) = (record.encode(), content.head);
        let line = format!("message {id} {} {} {body}\n", octets.len(), head.len());
        let mut first = [line.as_bytes(), &octets, &head].concat();
        let file = match content.body {
            Body::Inline(body) => {
                first.extend_from_slice(&body);
                let sum = sum(crc32fast::hash(&first));
                first.extend_from_slice(sum.as_bytes());
                None
            }
            Body::File { file, length } => Some(Rest {
                file,
                at: 0,
                left: length,
                checksum: crc32fast::Hasher::new_with_initial_len(
                    crc32fast::hash(&first),
                    first.len() as u64,
                ),
            }),
        };
        Self { first, file }
    }

    /// Whether [`Self::next`] waits for the disk.
    pub fn reads_a_file(&self) -> bool {
        self.file.is_some()
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.first.is_empty() {
            return Some(Ok(mem::take(&mut self.first).into()));
        }
        let rest = self.file.as_mut()?;
        match rest.read() {
            Ok(chunk) if chunk.is_empty() => {
                let checksum = self.file.take()?.checksum.finalize();
                Some(Ok(sum(checksum).into()))
            }
            read => Some(read),
        }
    }
}

impl Rest {
    /// Nothing at the end.
    fn read(&mut self) -> io::Result<Bytes> {
        let length = usize::try_from(self.left).map_or(CHUNK, |left| left.min(CHUNK));
        let mut chunk = vec![0; length];
        self.file.read_exact_at(&mut chunk, self.at)?;
        self.at += length as u64;
        self.left -= length as u64;
        self.checksum.update(&chunk);
        Ok(chunk.into())
    }
}

fn sum(checksum: u32) -> String {
    format!("sum {checksum:08x}\n")
}
