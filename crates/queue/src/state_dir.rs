//! The state directory: its directories, and the lock that gives it one owner.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use relay_message::StoreError;

use crate::spool::io_error;

/// Creates the directory and its missing parents, and makes their names durable.
pub(crate) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => dir,
    };
    if above != dir {
        make_dir(above)?;
    }
    let made = DirBuilder::new().mode(0o700).create(dir);
    made.map_err(|source| io_error("creating the directory", dir, source))?;
    File::open(above)
        .and_then(|parent| parent.sync_all())
        .map_err(|source| io_error("syncing", above, source))
}

/// Locks the state directory, so that only one relayd uses it. The lock ends with the process.
pub(crate) fn take_lock(state_dir: &Path) -> Result<File, StoreError> {
    let path = state_dir.join("lock");
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = opened.map_err(|source| io_error("opening", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            dir: state_dir.display().to_string(),
        }),
        Err(TryLockError::Error(source)) => Err(io_error("locking", &path, source)),
    }
}
