//! The maildrop directory. Every user of the machine may write to it, but only the relay may list
//! it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use relay_maildrop::MODE;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::message::{FileResult, Found};
use crate::clock;

/// The directory for files that are being submitted, in the state directory.
const HELD: &str = "maildrop-held";
/// The directory for files that cannot be submitted.
const REFUSED: &str = "maildrop-refused";
/// The age at which an incomplete file is removed, because its writer must have died.
const ABANDONED: Duration = Duration::from_hours(36);
/// The permissions of other users that are removed from everything else in the state directory.
const OTHERS: u32 = 0o077;
/// The permission of other users to enter the state directory. They may not list it.
const PASSAGE: u32 = 0o011;

/// The maildrop, the directory for files that are being submitted, and the one for those that
/// cannot be.
///
/// The owner of a file in the maildrop may rename or replace it at any time. So a file is first
/// moved to a directory that no other user can enter.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    held: PathBuf,
    refused: PathBuf,
}

impl Directory {
    /// Creates the three directories, and lets users reach the first one.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let directory = Self {
            path: super::path(state_dir),
            held: state_dir.join(HELD),
            refused: state_dir.join(REFUSED),
        };
        make(&directory.path, 0o700)?;
        make(&directory.held, 0o700)?;
        make(&directory.refused, 0o700)?;
        // The umask may have removed permissions when the directory was created.
        fs::set_permissions(&directory.path, Permissions::from_mode(MODE))?;
        let mode = fs::metadata(state_dir)?.permissions().mode();
        if mode & PASSAGE != PASSAGE {
            close_to_others(state_dir, &directory.path)?;
            fs::set_permissions(state_dir, Permissions::from_mode(mode | PASSAGE))?;
        }
        File::open(state_dir)?.sync_all()?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of files that were moved before, perhaps before a crash, then those in the
    /// maildrop. They are read one by one, because there may be very many.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
        let entries = fs::read_dir(&self.held)?.chain(fs::read_dir(&self.path)?);
        Ok(entries.map(|entry| entry.map(|entry| entry.file_name())))
    }

    /// Moves the file with this name to where its owner cannot change it, unless it is there
    /// already. Then checks it: it may not be a file at all, or belong to a user who did not put it
    /// here.
    pub(super) fn hold(&self, name: &OsStr) -> io::Result<Found> {
        let held = self.held.join(name);
        if fs::symlink_metadata(&held).is_err() {
            match fs::rename(self.path.join(name), &held) {
                Ok(()) => {}
                // The owner has removed it in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
                Err(error) if is_ours(&error) => return Err(error),
                Err(error) => return Ok(Found::Wrong(format!("it cannot be moved: {error}"))),
            }
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(held);
        let file = match opened {
            Ok(file) => file,
            // If there are no free file descriptors, nothing is known about the file.
            Err(error) if is_ours(&error) => return Err(error),
            Err(error) => return Ok(Found::Wrong(format!("it cannot be opened: {error}"))),
        };
        let found = file.metadata()?;
        Ok(match wrong_with(&found) {
            Some(reason) => Found::Wrong(reason.to_owned()),
            None => Found::Message(file, found.uid()),
        })
    }

    /// Removes a file whose writer has died.
    pub(super) fn remove_abandoned(&self, name: &OsStr) -> io::Result<FileResult> {
        let path = self.path.join(name);
        let Ok(found) = fs::symlink_metadata(&path) else {
            return Ok(FileResult::Left);
        };
        // The age is zero if the clock was set back.
        let age = clock::now().duration_since(found.modified()?);
        if age.unwrap_or_default() < ABANDONED {
            return Ok(FileResult::Left);
        }
        if found.is_dir() {
            return Ok(FileResult::Refused("it is not a file".to_owned()));
        }
        match fs::remove_file(path) {
            Err(error) if is_ours(&error) => Err(error),
            // Otherwise the owner has removed it, and may have put anything in its place.
            _ => Ok(FileResult::Left),
        }
    }

    /// Removes a file that was moved. Once this returns, the removal is durable in both
    /// directories. If the file came back after a crash, its message would be submitted twice.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match fs::remove_file(self.held.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        File::open(&self.held)?.sync_all()?;
        File::open(&self.path)?.sync_all()
    }

    /// Moves a file or other entry to where its owner cannot access it. Returns its new path. A
    /// directory of another user cannot be moved, because moving a directory writes to it.
    pub(super) fn move_to_refused(&self, name: &OsStr) -> io::Result<PathBuf> {
        let since_epoch = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut number = since_epoch.as_nanos();
        let mut place = self.refused.join(format!("{number:020}"));
        while fs::symlink_metadata(&place).is_ok() {
            number += 1;
            place.set_file_name(format!("{number:020}"));
        }
        match fs::rename(self.held.join(name), &place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::rename(self.path.join(name), &place)?;
            }
            moved => moved?,
        }
        Ok(place)
    }
}

/// Returns whether the error is due to this process or machine, not to the file.
fn is_ours(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::MFILE
                | Errno::NFILE
                | Errno::NOMEM
                | Errno::IO
                | Errno::INTR
                | Errno::NOSPC
                | Errno::ROFS
        )
    )
}

/// Returns why a file is not accepted as a message. A file with a second link may belong to a user
/// who did not put it here.
fn wrong_with(found: &Metadata) -> Option<&'static str> {
    if !found.is_file() {
        Some("it is not a file")
    } else if found.nlink() > 1 {
        Some("it has a second name elsewhere")
    } else {
        None
    }
}

fn make(directory: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(directory)?.is_dir() {
                Ok(())
            } else {
                Err(error)
            }
        }
        result => result,
    }
}

/// Removes the permissions of other users from everything else in the state directory before they
/// may enter it.
fn close_to_others(state_dir: &Path, but: &Path) -> io::Result<()> {
    for entry in fs::read_dir(state_dir)? {
        let entry = entry?;
        let found = entry.metadata()?;
        let mode = found.permissions().mode();
        let is_plain = found.is_file() || found.is_dir();
        if is_plain && mode & OTHERS != 0 && entry.path() != but {
            fs::set_permissions(entry.path(), Permissions::from_mode(mode & !OTHERS))?;
        }
    }
    Ok(())
}
