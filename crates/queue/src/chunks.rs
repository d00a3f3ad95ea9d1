//! Values of the database, split into chunks.
//!
//! sled writes a page of more than 128 KiB to a separate file under `queue/blobs/`. It never syncs
//! that file, and nothing makes its name durable: a power loss would destroy all records on the
//! page. A page holds 17 values, and 20 for a moment when two pages are merged. So a larger value
//! is split into chunks of at most [`CHUNK_SIZE`], and no page comes near the limit.
//! `tests/contract/disk.rs` tests this.
//!
//! The first chunk of a value is stored under the key of the value. After a chunk of exactly
//! [`CHUNK_SIZE`] octets comes another one. The last chunk is shorter and may be empty.

use relay_message::QueueId;

use crate::record::Ledger;

/// The octets of a chunk that is not the last: a message of 4 KiB with its head fits in one.
pub(crate) const CHUNK_SIZE: usize = 5 * 1024;

/// The key of the books. No message has it.
pub(crate) const BOOKS: &[u8] = b"books";

/// What a value contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    /// The record of a message.
    Record,
    /// The head of a message, and its body if that is small.
    Content,
}

impl ValueKind {
    /// Returns the first octet of the keys of first chunks. Further chunks have another, so that a
    /// scan does not see them.
    pub(crate) const fn first(self) -> u8 {
        match self {
            ValueKind::Record => b'm',
            ValueKind::Content => b'c',
        }
    }

    const fn further(self) -> u8 {
        match self {
            ValueKind::Record => b'n',
            ValueKind::Content => b'd',
        }
    }

    /// Returns the key of the first chunk.
    pub(crate) fn key(self, id: QueueId) -> [u8; 9] {
        let mut key = [self.first(); 9];
        key[1..].copy_from_slice(&id.to_bits().to_be_bytes());
        key
    }

    /// Returns the key of a further chunk. They are numbered from 1.
    pub(crate) fn further_key(self, id: QueueId, number: u32) -> [u8; 13] {
        let mut key = [self.further(); 13];
        key[1..9].copy_from_slice(&id.to_bits().to_be_bytes());
        key[9..].copy_from_slice(&number.to_be_bytes());
        key
    }
}

/// Returns the id in the key of a first chunk.
pub(crate) fn id_of(key: &[u8]) -> Option<QueueId> {
    let (_, bits) = key.split_first()?;
    Some(QueueId::from_bits(u64::from_be_bytes(
        bits.try_into().ok()?,
    )))
}

/// The place of a chunk: its message, its value and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) kind: ValueKind,
    pub(crate) id: QueueId,
    /// 0 for the first.
    number: u32,
}

impl Chunk {
    /// Returns the chunk with this key, or `None` if the key does not belong to a message.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        let kinds = [ValueKind::Record, ValueKind::Content];
        let (&first, _) = key.split_first()?;
        if let Some(kind) = kinds.into_iter().find(|kind| kind.first() == first) {
            let (id, number) = (id_of(key)?, 0);
            return Some(Self { kind, id, number });
        }
        let kind = kinds.into_iter().find(|kind| kind.further() == first)?;
        let (key, number) = key.split_last_chunk()?;
        let number = u32::from_be_bytes(*number);
        let id = id_of(key)?;
        (number > 0).then_some(Self { kind, id, number })
    }

    /// Returns the chunk before this one, or `None` for the first.
    pub(crate) fn before(self) -> Option<Self> {
        let number = self.number.checked_sub(1)?;
        Some(Self { number, ..self })
    }

    pub(crate) fn key(self) -> Vec<u8> {
        match self.number {
            0 => self.kind.key(self.id).to_vec(),
            number => self.kind.further_key(self.id, number).to_vec(),
        }
    }
}

/// Returns whether another chunk follows this one.
pub(crate) fn is_continued(chunk: &[u8]) -> bool {
    chunk.len() == CHUNK_SIZE
}

/// Returns the number of chunks after the first, for a value of this length.
fn further_chunks(length: usize) -> u32 {
    u32::try_from(length / CHUNK_SIZE).unwrap_or(u32::MAX)
}

/// Changes to the database that become durable together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    batch: sled::Batch,
    is_leaving: bool,
}

impl Changes {
    /// Writes a value. It replaces one of `old` octets, or 0 if there was none.
    pub(crate) fn put(&mut self, kind: ValueKind, id: QueueId, value: &[u8], old: usize) {
        let (first, mut rest) = value.split_at(value.len().min(CHUNK_SIZE));
        self.batch.insert(&kind.key(id), first);
        for number in 1..=further_chunks(value.len()) {
            let (chunk, later) = rest.split_at(rest.len().min(CHUNK_SIZE));
            self.batch.insert(&kind.further_key(id, number), chunk);
            rest = later;
        }
        for number in further_chunks(value.len()) + 1..=further_chunks(old) {
            self.batch.remove(&kind.further_key(id, number));
        }
    }

    /// Removes a value of `old` octets.
    pub(crate) fn remove(&mut self, kind: ValueKind, id: QueueId, old: usize) {
        self.batch.remove(&kind.key(id));
        self.is_leaving |= kind == ValueKind::Record;
        for number in 1..=further_chunks(old) {
            self.batch.remove(&kind.further_key(id, number));
        }
    }

    /// Removes one chunk of a value.
    pub(crate) fn remove_chunk(&mut self, chunk: Chunk) {
        self.batch.remove(chunk.key());
    }

    /// Writes the books, which are shorter than a chunk.
    pub(crate) fn put_books(&mut self, ledger: &Ledger) {
        self.batch.insert(BOOKS, ledger.encode());
    }

    /// Returns whether the changes remove a message.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    pub(crate) fn into_batch(self) -> sled::Batch {
        self.batch
    }
}
