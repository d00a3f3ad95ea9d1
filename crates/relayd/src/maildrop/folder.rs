//! The folder that every user of the machine may write to, and nobody but us may list.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use nix::fcntl::OFlag;
use relay_maildrop::MODE;

use super::leaf::{Fate, Found};
use crate::clock;

/// Where a message is while it is taken, within the state directory.
const HELD: &str = "maildrop-held";
/// Where what cannot be taken goes.
const ASIDE: &str = "maildrop-refused";
/// After so long nobody writes a file any more: its writer has died.
const ABANDONED: Duration = Duration::from_hours(36);
/// What other users may do with all else in the state directory: nothing.
const OTHERS: u32 = 0o077;
/// Other users may pass through the state directory, not list it.
const PASSAGE: u32 = 0o011;

/// The folder, the one for what is being taken, and the one for what cannot be.
///
/// Whoever owns a file in the first may rename it, and put another in its place, at any time; so what
/// is taken is moved first to where nobody but us gets at names.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    held: PathBuf,
    aside: PathBuf,
}

impl Folder {
    /// Makes all three, and the way to the first one free.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let folder = Self {
            path: super::path(state_dir),
            held: state_dir.join(HELD),
            aside: state_dir.join(ASIDE),
        };
        make(&folder.path, 0o700)?;
        make(&folder.held, 0o700)?;
        make(&folder.aside, 0o700)?;
        // Behind the umask, which may take some of it away where a folder is made.
        fs::set_permissions(&folder.path, Permissions::from_mode(MODE))?;
        let mode = fs::metadata(state_dir)?.permissions().mode();
        if mode & PASSAGE != PASSAGE {
            close_to_others(state_dir, &folder.path)?;
            fs::set_permissions(state_dir, Permissions::from_mode(mode | PASSAGE))?;
        }
        File::open(state_dir)?.sync_all()?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of what is held already, perhaps since before a crash, and then of what is in the
    /// folder, as they are read: there may be very many.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
        let entries = fs::read_dir(&self.held)?.chain(fs::read_dir(&self.path)?);
        Ok(entries.map(|entry| entry.map(|entry| entry.file_name())))
    }

    /// Moves what has this name to where it stays what it is, unless it is there; and looks at it,
    /// trusting nothing about it: not that it is a file, nor that it is the owner's who put it here.
    pub(super) fn hold(&self, name: &OsStr) -> io::Result<Found> {
        let held = self.held.join(name);
        if fs::symlink_metadata(&held).is_err() {
            match fs::rename(self.path.join(name), &held) {
                Ok(()) => {}
                // Its owner was quicker.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
                Err(error) if is_ours(&error) => return Err(error),
                Err(error) => return Ok(Found::Wrong(format!("it cannot be moved: {error}"))),
            }
        }
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(held);
        let file = match opened {
            Ok(file) => file,
            // Out of file descriptors: that says nothing about the file.
            Err(error) if is_ours(&error) => return Err(error),
            Err(error) => return Ok(Found::Wrong(format!("it cannot be opened: {error}"))),
        };
        let found = file.metadata()?;
        Ok(match wrong_with(&found) {
            Some(reason) => Found::Wrong(reason.to_owned()),
            None => Found::Leaf(file, found.uid()),
        })
    }

    /// Removes a file whose writer has died.
    pub(super) fn remove_abandoned(&self, name: &OsStr) -> io::Result<Fate> {
        let path = self.path.join(name);
        let Ok(found) = fs::symlink_metadata(&path) else {
            return Ok(Fate::Left);
        };
        // Of no age, where the clock was set back.
        let age = clock::now().duration_since(found.modified()?);
        if age.unwrap_or_default() < ABANDONED {
            return Ok(Fate::Left);
        }
        if found.is_dir() {
            return Ok(Fate::Refused("it is no file".to_owned()));
        }
        match fs::remove_file(path) {
            Err(error) if is_ours(&error) => Err(error),
            // Else its owner was quicker, and may have put anything in its place.
            _ => Ok(Fate::Left),
        }
    }

    /// Returns once the file that is held is gone for good, from where it was before, too: what comes
    /// back would be taken in twice.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match fs::remove_file(self.held.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        File::open(&self.held)?.sync_all()?;
        File::open(&self.path)?.sync_all()
    }

    /// Moves it, held or not, where its owner does not get at it; its new place. Another user's folder
    /// cannot be moved, for that writes to it.
    pub(super) fn set_aside(&self, name: &OsStr) -> io::Result<PathBuf> {
        let since_epoch = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut number = since_epoch.as_nanos();
        let mut place = self.aside.join(format!("{number:020}"));
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

/// Trouble of this process, or of the machine.
fn is_ours(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(
        number,
        Some(
            Errno::EMFILE
                | Errno::ENFILE
                | Errno::ENOMEM
                | Errno::EIO
                | Errno::EINTR
                | Errno::ENOSPC
                | Errno::EROFS
        )
    )
}

/// Why it is nobody's message. A file with two names may be anybody's that was linked in here.
fn wrong_with(found: &Metadata) -> Option<&'static str> {
    if !found.is_file() {
        Some("it is no file")
    } else if found.nlink() > 1 {
        Some("it has another name elsewhere")
    } else {
        None
    }
}

fn make(folder: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(folder)?.is_dir() {
                Ok(())
            } else {
                Err(error)
            }
        }
        result => result,
    }
}

/// Whoever may pass through the state directory from now on is to find nothing else open there.
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
