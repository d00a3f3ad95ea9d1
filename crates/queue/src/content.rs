//! Reads the content of a queued message and compares it with its record.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use relay_message::{Body, Content, StoreError};

use crate::chunks::ValueKind;
use crate::database::Table;
use crate::record::{ContentPlace, Layout, Record};
use crate::spool::io_error;

/// Octets of a file that are read at a time.
const CHUNK: usize = 64 * 1024;

/// Reads and checks head and body. This waits for the disk. Fails with [`StoreError::Damaged`] if
/// they do not match the record.
pub(crate) fn read(table: &Table, record: &Record, body: &Path) -> Result<Content, StoreError> {
    let (id, layout) = (record.message.id, record.layout);
    let stored = match layout.place {
        ContentPlace::WholeFile => Bytes::new(),
        ContentPlace::Database | ContentPlace::BodyFile => {
            // Sharing sled's buffer saves a copy of the body. An empty content is not stored.
            let found = table.get(ValueKind::Content, id)?.map(Bytes::from_owner);
            found.unwrap_or_default()
        }
    };
    let content = match layout.place {
        ContentPlace::Database => inline(&layout, &stored).map_err(Unreadable::Damaged),
        ContentPlace::BodyFile => with_file(&layout, stored, body),
        ContentPlace::WholeFile => whole_file(&layout, body),
    };
    content.map_err(|reason| match reason {
        Unreadable::Damaged(damage) => StoreError::Damaged {
            id,
            reason: damage.to_string(),
        },
        Unreadable::Store(reason) => reason,
    })
}

/// How a content differs from its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("its content does not have the length in its record")]
    ContentLength,
    #[error("its head does not have the length in its record")]
    HeadLength,
    #[error("its head is too long")]
    LongHead,
    #[error("its body file is missing")]
    NoFile,
    #[error("its body file has {found} octets, not {expected}")]
    FileLength { found: u64, expected: u64 },
    #[error("its content does not have the checksum in its record")]
    Checksum,
}

/// Why a content cannot be read.
enum Unreadable {
    Damaged(Damage),
    Store(StoreError),
}

impl From<Damage> for Unreadable {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<StoreError> for Unreadable {
    fn from(reason: StoreError) -> Self {
        Self::Store(reason)
    }
}

fn inline(layout: &Layout, stored: &Bytes) -> Result<Content, Damage> {
    if stored.len() as u64 != layout.size() {
        return Err(Damage::ContentLength);
    }
    let head = usize::try_from(layout.head).map_err(|_| Damage::LongHead)?;
    let (head, body) = (stored.slice(..head), stored.slice(head..));
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&body);
    check(layout, checksum, &head)?;
    Ok(Content {
        head,
        body: Body::Inline(body),
    })
}

fn with_file(layout: &Layout, head: Bytes, path: &Path) -> Result<Content, Unreadable> {
    if head.len() as u64 != layout.head {
        return Err(Damage::HeadLength.into());
    }
    file(layout, path, layout.body, |_| Ok(head))
}

fn whole_file(layout: &Layout, path: &Path) -> Result<Content, Unreadable> {
    file(layout, path, layout.size(), |file| {
        // The length of the file is already checked.
        let length = usize::try_from(layout.head).map_err(io::Error::other)?;
        let mut head = vec![0; length];
        file.read_exact_at(&mut head, layout.body)?;
        Ok(head.into())
    })
}

fn file(
    layout: &Layout,
    path: &Path,
    length: u64,
    head: impl FnOnce(&File) -> io::Result<Bytes>,
) -> Result<Content, Unreadable> {
    let reading = |e| io_error("reading the body file", path, e);
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Damage::NoFile.into());
        }
        opened => opened.map_err(reading)?,
    };
    let found = file.metadata().map_err(reading)?.len();
    if found != length {
        let expected = length;
        return Err(Damage::FileLength { found, expected }.into());
    }
    let head = head(&file).map_err(reading)?;
    let checksum = file_checksum(&file, layout.body).map_err(reading)?;
    check(layout, checksum, &head)?;
    let body = Body::File {
        file: Arc::new(file),
        length: layout.body,
    };
    Ok(Content { head, body })
}

/// Does not move the position of the file, which stays at the start.
fn file_checksum(file: &File, length: u64) -> io::Result<crc32fast::Hasher> {
    let (mut checksum, mut chunk, mut offset) = (crc32fast::Hasher::new(), vec![0; CHUNK], 0);
    while offset < length {
        let most = usize::try_from(length - offset).map_or(CHUNK, |left| left.min(CHUNK));
        file.read_exact_at(&mut chunk[..most], offset)?;
        checksum.update(&chunk[..most]);
        offset += most as u64;
    }
    Ok(checksum)
}

/// Compares the checksum of body and head with [`Layout::checksum`].
fn check(layout: &Layout, mut body: crc32fast::Hasher, head: &[u8]) -> Result<(), Damage> {
    body.update(head);
    if body.finalize() == layout.checksum {
        Ok(())
    } else {
        Err(Damage::Checksum)
    }
}
