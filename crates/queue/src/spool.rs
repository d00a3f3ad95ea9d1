//! A message coming in: small ones stay in memory, larger ones are written to `mess/ID`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relay_failpoint as failpoint;
use relay_message::{QueueId, Spool, StoreError};
use tokio::task;

use crate::disk_space::DiskSpace;
use crate::record::{ContentPlace, Layout};
use crate::remover::Remover;

/// Octets gathered before they go to the file: enough that system calls do not count, little
/// enough that a thousand sessions fit in memory.
const CHUNK: usize = 64 * 1024;

/// A head up to this size is kept in the database, where values must stay small.
const SMALL_HEAD: usize = 2 * 1024;

/// What a spool needs to know of its store.
#[derive(Debug)]
pub(crate) struct SpoolConfig {
    pub(crate) mess: PathBuf,
    pub(crate) disk_space: DiskSpace,
    pub(crate) inline_body: usize,
    pub(crate) remover: Remover,
}

/// A message coming in. Dropped before its commit it removes its file.
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

/// What a message may take of the disk's reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reserve {
    /// Nothing.
    Kept,
    /// Whatever there is: it enters so that another can leave.
    Drawn,
}

/// A file in `mess/` that nobody else refers to yet: removed when dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct BodyFile {
    path: PathBuf,
    /// `None` once it is kept.
    file: Option<File>,
    remover: Remover,
}

/// A message whose bytes are as durable as they can be without a record.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) layout: Layout,
    /// What goes into the database under the content key; empty for [`ContentPlace::WholeFile`].
    pub(crate) content: Vec<u8>,
    pub(crate) file: Option<BodyFile>,
}

impl SledSpool {
    pub(crate) fn new(id: QueueId, config: Arc<SpoolConfig>) -> Self {
        Self::drawing(id, config, Reserve::Kept)
    }

    /// For a report of ours, which is what the reserve is for: while it could not be recorded, no
    /// message would leave, and no room would ever be made.
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

    /// Hands the gathered octets to the file, which is made with the first ones.
    async fn write_out(&mut self) -> Result<(), StoreError> {
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
            Ok((body, buffer))
        })
        .await?;
        self.file = Some(file);
        self.written += buffer.len() as u64;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    /// Puts the head with the body and syncs the file, if there is one. The directory is the
    /// committer's to sync, once for many files.
    pub(crate) async fn prepare(mut self, head: &[u8]) -> Result<Prepared, StoreError> {
        let body = self.written + self.buffer.len() as u64;
        self.checksum.update(head);
        let layout = |place, checksum| Layout {
            place,
            head: head.len() as u64,
            body,
            checksum,
        };
        let needs_file = self.file.is_some() || head.len() > SMALL_HEAD;
        if !needs_file {
            let mut content = Vec::with_capacity(head.len() + self.buffer.len());
            content.extend_from_slice(head);
            content.extend_from_slice(&self.buffer);
            return Ok(Prepared {
                layout: layout(ContentPlace::Database, self.checksum.finalize()),
                content,
                file: None,
            });
        }
        let (place, content) = if head.len() > SMALL_HEAD {
            self.buffer.extend_from_slice(head);
            (ContentPlace::WholeFile, Vec::new())
        } else {
            (ContentPlace::BodyFile, head.to_vec())
        };
        self.write_out().await?;
        let file = self.file.take();
        let file = run_blocking(move || {
            if let Some(body) = &file {
                body.sync()?;
                failpoint::point("body-synced");
            }
            Ok(file)
        })
        .await?;
        Ok(Prepared {
            layout: layout(place, self.checksum.finalize()),
            content,
            file,
        })
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
                None => self.config.inline_body.min(CHUNK),
                Some(_) => CHUNK,
            };
            if self.buffer.len() + rest.len() <= bound {
                self.buffer.extend_from_slice(rest);
                return Ok(());
            }
            let (now, later) =
                rest.split_at(rest.len().min(CHUNK.saturating_sub(self.buffer.len())));
            self.buffer.extend_from_slice(now);
            rest = later;
            self.write_out().await?;
        }
    }
}

impl BodyFile {
    fn create(path: PathBuf, remover: Remover) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let opened = failpoint::call("body-make").and_then(|()| options.open(&path));
        let file = opened.map_err(|source| io_error("making the body file", &path, source))?;
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

    /// A record refers to it now.
    pub(crate) fn keep(mut self) {
        self.file = None;
    }
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        // Sessions end on the runtime's threads, where nothing may wait for the disk.
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

/// Runs `work` where waiting for the disk holds nobody up.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(StoreError::Closed {
            reason: "the relay is going down".into(),
        })
    })
}
