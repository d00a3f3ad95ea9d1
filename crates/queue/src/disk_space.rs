//! Free disk space. The queue stops accepting mail before the disk is full: sled cannot recover
//! from a full disk while it stays full.

use std::path::PathBuf;

use relay_message::StoreError;

/// The octets that must stay free on the file system of the queue.
#[derive(Debug, Clone)]
pub(crate) struct DiskSpace {
    dir: PathBuf,
    min_free: u64,
}

impl DiskSpace {
    pub(crate) fn new(dir: PathBuf, min_free: u64) -> Self {
        Self { dir, min_free }
    }

    /// Returns an error if fewer than `min_free` octets would be free after writing `size` octets.
    pub(crate) fn check(&self, size: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|e| StoreError::Io {
            doing: format!("checking the free space of {}", self.dir.display()),
            source: e.into(),
        })?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < self.min_free.saturating_add(size) {
            return Err(StoreError::NoRoom {
                min_free: self.min_free,
            });
        }
        Ok(())
    }
}
