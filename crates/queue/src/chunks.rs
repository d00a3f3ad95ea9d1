//! Values in chunks.
//!
//! sled writes a page of more than 128 KiB to a file of its own under `queue/blobs/`, which it
//! never syncs and whose name nobody makes durable: a power cut would take every record on that
//! page. A page holds 17 values, for a moment 20 when two pages are merged. So no value is larger
//! than a [`CHUNK_SIZE`], and no page ever comes near the bound; `tests/contract/disk.rs` holds
//! that.
//!
//! The first chunk of a value is stored under the key of the value. After a chunk of exactly
//! [`CHUNK_SIZE`] octets comes another one. The last chunk is shorter and may be empty.

use relay_message::QueueId;

use crate::record::Ledger;

/// Octets of a chunk: a message of 4 KiB with its head fits in one.
pub(crate) const CHUNK_SIZE: usize = 5 * 1024;

/// The key of the books; no message's.
pub(crate) const BOOKS: &[u8] = b"books";

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    /// The record of a message.
    Record,
    /// Its head, and its body if that is small.
    Content,
}

impl ValueKind {
    /// The first octet of the keys of first chunks; scans must not meet the further ones.
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

    /// The key of the first chunk.
    pub(crate) fn key(self, id: QueueId) -> [u8; 9] {
        let mut key = [self.first(); 9];
        key[1..].copy_from_slice(&id.to_bits().to_be_bytes());
        key
    }

    /// The key of a chunk behind the first; the first of them has the number 1.
    pub(crate) fn further_key(self, id: QueueId, number: u32) -> [u8; 13] {
        let mut key = [self.further(); 13];
        key[1..9].copy_from_slice(&id.to_bits().to_be_bytes());
        key[9..].copy_from_slice(&number.to_be_bytes());
        key
    }
}

/// The id in the key of a first chunk.
pub(crate) fn id_of(key: &[u8]) -> Option<QueueId> {
    let (_, bits) = key.split_first()?;
    Some(QueueId::from_bits(u64::from_be_bytes(
        bits.try_into().ok()?,
    )))
}

/// One chunk of a value of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) kind: ValueKind,
    pub(crate) id: QueueId,
    /// 0 for the first.
    number: u32,
}

impl Chunk {
    /// The chunk with this key; `None` if it is no message's.
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

    /// The one before it; `None` for the first.
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

/// Whether a chunk is followed by another.
pub(crate) fn is_continued(chunk: &[u8]) -> bool {
    chunk.len() == CHUNK_SIZE
}

/// Chunks behind the first of a value of this length.
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
    /// Writes a value over one of `old` octets; 0 if there was none.
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

    /// Whether a message leaves with them.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    pub(crate) fn into_batch(self) -> sled::Batch {
        self.batch
    }
}
