//! The record of a message in the database: a version octet, then postcard.

mod ledger;
mod version_1;
mod version_2;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_message::{Message, QueueId, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use self::ledger::Ledger;

/// The first octet of a new record. A changed layout gets a new number. Older layouts can still be
/// read.
const VERSION: u8 = 2;

/// Where the head and the body of a message are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ContentPlace {
    /// Head and body are in the journal.
    Journal,
    /// The body is in `mess/ID`, the head in the journal.
    BodyFile,
    /// The body, followed by the head, in `mess/ID`.
    WholeFile,
}

impl ContentPlace {
    pub(crate) fn has_file(self) -> bool {
        match self {
            ContentPlace::Journal => false,
            ContentPlace::BodyFile | ContentPlace::WholeFile => true,
        }
    }
}

/// Where the head and the body are stored, their lengths and their CRC-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) place: ContentPlace,
    pub(crate) head: u64,
    pub(crate) body: u64,
    /// The CRC-32 of the body followed by the head.
    pub(crate) checksum: u32,
}

impl Layout {
    /// Returns the octets of head and body.
    pub(crate) fn size(&self) -> u64 {
        self.head.saturating_add(self.body)
    }
}

/// A message, and where its content is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) message: Message,
    pub(crate) layout: Layout,
}

/// The octets are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the record is empty")]
    Empty,
    #[error("the record has version {0}, which this relayd does not know")]
    Version(u8),
    #[error("the record cannot be decoded: {0}")]
    Encoding(String),
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let stored = version_2::Stored::from(self);
        postcard::to_extend(&stored, vec![VERSION])
            .expect("postcard writes any such value into a vector")
    }

    pub(crate) fn decode(id: QueueId, bytes: &[u8]) -> Result<Self, RecordError> {
        let (&version, rest) = bytes.split_first().ok_or(RecordError::Empty)?;
        match version {
            1 => Ok(whole::<version_1::Stored>(rest)?.load(id)),
            VERSION => Ok(whole::<version_2::Stored>(rest)?.load(id)),
            other => Err(RecordError::Version(other)),
        }
    }
}

/// Fails if a later relayd wrote the record. Such a record is not damaged, but this relayd cannot
/// judge it: it must leave the whole queue unchanged.
pub(crate) fn refuse_later(id: QueueId, bytes: &[u8]) -> Result<(), StoreError> {
    match bytes.first() {
        Some(&version) if version > VERSION => Err(StoreError::Database {
            doing: format!("reading message {id}"),
            reason: format!(
                "the record has version {version}, of a later relayd; this one reads up to version {VERSION}"
            ),
        }),
        _ => Ok(()),
    }
}

/// Decodes a value from all of these octets.
fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    let taken = postcard::take_from_bytes(bytes);
    let (value, rest) = taken.map_err(|e| RecordError::Encoding(e.to_string()))?;
    if !rest.is_empty() {
        let length = rest.len();
        return Err(RecordError::Encoding(format!("{length} octets too many")));
    }
    Ok(value)
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

/// Decodes a record and encodes it again; `None` if it cannot be read. Only for fuzzing.
#[doc(hidden)]
pub fn recode_record(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = Record::decode(QueueId::from_bits(0), bytes).ok()?;
    Some(record.encode())
}

#[cfg(test)]
mod tests;
