//! An incoming message. A small one stays in memory until its commit, a larger one is written to
//! `mess/ID`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use relay_failpoint as failpoint;
use relay_message::{QueueId, Spool, StoreError};
use tokio::task;

use crate::disk_space::DiskSpace;
use crate::journal::ContentOctets;
use crate::record::{ContentPlace, Layout};
use crate::remover::Remover;

/// Octets that are buffered before a write to the file. A larger buffer saves hand-overs between
/// threads; a smaller one lets a thousand sessions fit in memory.
const CHUNK: usize = 128 * 1024;

/// A head up to this size is written to the journal even if the body is in a file.
const SMALL_HEAD: usize = 64 * 1024;

/// What a spool needs from its store.
#[derive(Debug)]
pub(crate) struct SpoolConfig {
    pub(crate) mess: PathBuf,
    pub(crate) disk_space: DiskSpace,
    pub(crate) inline_body: usize,
    pub(crate) remover: Remover,
}

/// An incoming message. If it is dropped before its commit, its file is removed.
#[derive(Debug)]
pub struct SledSpool {
    id: QueueId,
    config: Arc<SpoolConfig>,
    reserve: Reserve,
    buffer: Vec<u8>,
    written: u64,
    checksum: crc32fast::Hasher,
    file: Option<BodyFile>,
}

/// How much of the reserved disk space a message may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reserve {
    /// Nothing.
    Kept,
    /// All of it: the message enters so that another can leave.
    Drawn,
}

/// Whether a write to the body file is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterWrite {
    Continue,
    Sync,
}

/// A file in `mess/` that no record refers to yet. It is removed on drop, unless [`Self::keep`] was
/// called.
#[derive(Debug)]
pub(crate) struct BodyFile {
    path: PathBuf,
    /// `None` after [`Self::keep`].
    file: Option<File>,
    remover: Remover,
}

/// A message that is ready for the commit. Its file, if it has one, is synced.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) layout: Layout,
    /// The part that goes into the journal.
    pub(crate) content: JournalContent,
    pub(crate) file: Option<BodyFile>,
}

/// The part of a content that is in the journal.
#[derive(Debug, Clone, Default)]
pub(crate) struct JournalContent {
    /// Empty if the body is in a file.
    pub(crate) body: Bytes,
    /// Empty if the head is in the file too.
    pub(crate) head: Bytes,
    /// The CRC-32 of the body followed by the head.
    checksum: u32,
}

impl JournalContent {
    pub(crate) fn new(body: Bytes, head: Bytes) -> Self {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&body);
        checksum.update(&head);
        Self {
            body,
            head,
            checksum: checksum.finalize(),
        }
    }

    pub(crate) fn octets(&self) -> ContentOctets<'_> {
        ContentOctets {
            parts: [&self.body, &self.head],
            checksum: self.checksum,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.body.len() + self.head.len()
    }
}

impl SledSpool {
    pub(crate) fn new(id: QueueId, config: Arc<SpoolConfig>) -> Self {
        Self::drawing(id, config, Reserve::Kept)
    }

    /// Starts the spool of a report. It may use the reserved space: if a report could not be
    /// recorded, its message could not leave, and the space would never be freed.
    pub(crate) fn for_report(id: QueueId, config: Arc<SpoolConfig>) -> Self {
        Self::drawing(id, config, Reserve::Drawn)
    }

    fn drawing(id: QueueId, config: Arc<SpoolConfig>, reserve: Reserve) -> Self {
        Self {
            id,
            config,
            reserve,
            buffer: Vec::new(),
            written: 0,
            checksum: crc32fast::Hasher::new(),
            file: None,
        }
    }

    /// Writes the buffered octets to the file, and creates the file first if needed.
    async fn write_out(&mut self, then: AfterWrite) -> Result<BodyFile, StoreError> {
        if self.reserve == Reserve::Kept {
            self.config.disk_space.check(self.buffer.len() as u64)?;
        }
        let buffer = mem::take(&mut self.buffer);
        let path = self.config.mess.join(self.id.to_string());
        let (file, remover) = (self.file.take(), self.config.remover.clone());
        let (file, mut buffer) = run_blocking(move || {
            let mut body = match file {
                Some(body) => body,
                None => BodyFile::create(path, remover)?,
            };
            body.write(&buffer)?;
            if then == AfterWrite::Sync {
                body.sync()?;
                failpoint::point("body-synced");
            }
            Ok((body, buffer))
        })
        .await?;
        self.written += buffer.len() as u64;
        buffer.clear();
        self.buffer = buffer;
        Ok(file)
    }

    /// Adds the head and syncs the file, if there is one. The committer syncs the directory, once
    /// for many files.
    pub(crate) async fn prepare(mut self, head: Bytes) -> Result<Prepared, StoreError> {
        if self.file.is_none() {
            return Ok(self.prepare_in_memory(head));
        }
        let mut layout = Layout {
            place: ContentPlace::BodyFile,
            head: head.len() as u64,
            body: self.written + self.buffer.len() as u64,
            checksum: 0,
        };
        self.checksum.update(&head);
        layout.checksum = self.checksum.clone().finalize();
        let mut content = JournalContent::default();
        if head.len() > SMALL_HEAD {
            layout.place = ContentPlace::WholeFile;
            self.buffer.extend_from_slice(&head);
        } else {
            content = JournalContent::new(Bytes::new(), head);
        }
        let file = self.write_out(AfterWrite::Sync).await?;
        Ok(Prepared {
            layout,
            content,
            file: Some(file),
        })
    }

    fn prepare_in_memory(&mut self, head: Bytes) -> Prepared {
        let mut body = mem::take(&mut self.buffer);
        body.shrink_to_fit();
        let mut checksum = mem::take(&mut self.checksum);
        checksum.update(&head);
        let checksum = checksum.finalize();
        Prepared {
            layout: Layout {
                place: ContentPlace::Journal,
                head: head.len() as u64,
                body: body.len() as u64,
                checksum,
            },
            content: JournalContent {
                body: body.into(),
                head,
                checksum,
            },
            file: None,
        }
    }
}

impl Spool for SledSpool {
    fn id(&self) -> QueueId {
        self.id
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.checksum.update(bytes);
        let mut rest = bytes;
        loop {
            let bound = match self.file {
                None => self.config.inline_body,
                Some(_) => CHUNK,
            };
            if self.buffer.len() + rest.len() <= bound {
                self.buffer.extend_from_slice(rest);
                return Ok(());
            }
            let (now, later) =
                rest.split_at(rest.len().min(bound.saturating_sub(self.buffer.len())));
            self.buffer.extend_from_slice(now);
            rest = later;
            self.file = Some(self.write_out(AfterWrite::Continue).await?);
        }
    }
}

impl BodyFile {
    fn create(path: PathBuf, remover: Remover) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let opened = failpoint::call("body-make").and_then(|()| options.open(&path));
        let file = opened.map_err(|source| io_error("creating the body file", &path, source))?;
        Ok(Self {
            path,
            file: Some(file),
            remover,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut files = self.file.iter_mut();
        let written =
            failpoint::call("body-write").and_then(|()| files.try_for_each(|f| f.write_all(bytes)));
        written.map_err(|source| io_error("writing the body file", &self.path, source))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut files = self.file.iter();
        let synced =
            failpoint::call("body-sync").and_then(|()| files.try_for_each(File::sync_data));
        synced.map_err(|source| io_error("syncing the body file", &self.path, source))
    }

    /// Keeps the file, because a record refers to it now.
    pub(crate) fn keep(mut self) {
        self.file = None;
    }
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        // Sessions end on threads of the runtime, which must not wait for the disk.
        if let Some(file) = self.file.take() {
            self.remover.remove(mem::take(&mut self.path), Some(file));
        }
    }
}

pub(crate) fn io_error(doing: &str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        doing: format!("{doing} {}", path.display()),
        source,
    }
}

/// Runs `work` on a thread that may wait for the disk.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(StoreError::Closed {
            reason: "the relay is shutting down".into(),
        })
    })
}
