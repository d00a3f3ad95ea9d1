//! A queue as a stream of octets, to move it to another machine.
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
//! Lines end with LF. RECORD is the record as in the database; its first octet is the version of
//! its layout. It has the arrival, the sender, the recipients with their states and attempts, and
//! the DSN options. Head and body are the message as it is sent, without dot-stuffing. After `end`
//! the input ends or another stream begins.

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
/// Octets of a body that are read at a time.
const CHUNK: usize = 64 * 1024;

/// Returns the beginning of a stream.
pub fn title() -> Bytes {
    Bytes::from_static(TITLE.as_bytes())
}

/// Returns the end of a stream: the number of its messages, and the number of messages that were
/// left out because they were damaged.
pub fn end(messages: u64, damaged: u64) -> Bytes {
    format!("end {messages} {damaged}\n").into()
}

/// One message of a stream, in pieces.
#[derive(Debug)]
pub struct Pieces {
    /// All that comes before a body in a file; for other messages, the whole message.
    first: Vec<u8>,
    file: Option<Rest>,
}

/// The rest of a body file that must still be read.
#[derive(Debug)]
struct Rest {
    file: Arc<File>,
    at: u64,
    left: u64,
    checksum: crc32fast::Hasher,
}

impl SledStore {
    /// Returns the current state of a message in the format of a stream, even if the message is
    /// claimed. Returns `None` if it has left. Fails with [`StoreError::Damaged`] if it is damaged;
    /// it has then been set aside.
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

    /// Returns whether [`Self::next`] waits for the disk.
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
    /// Reads the next octets. Returns none at the end.
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
