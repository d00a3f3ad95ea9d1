//! Room on the disk: the queue stops taking mail in before sled meets a full disk, from which it
//! does not recover while the disk stays full.

use std::path::PathBuf;

use relay_message::StoreError;

/// The reserve on the file system of the queue.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    dir: PathBuf,
    min_free: u64,
}

impl Room {
    pub(crate) fn new(dir: PathBuf, min_free: u64) -> Self {
        Self { dir, min_free }
    }

    /// Whether `size` more octets leave the reserve untouched.
    pub(crate) fn check(&self, size: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|e| StoreError::Io {
            doing: format!("asking for the free space of {}", self.dir.display()),
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
