//! Checks the state directory: whether its file system is durable, and who owns it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::User;
use rustix::fs::{FsWord, statfs};
use rustix::process::{Uid, geteuid};

/// The numbers of file systems, from the kernel's `magic.h`.
const TMPFS_MAGIC: FsWord = 0x0102_1994;
const RAMFS_MAGIC: FsWord = 0x8584_58f6;
const OVERLAYFS_SUPER_MAGIC: FsWord = 0x794c_7630;

/// Why a command may not use the state directory.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The owner cannot be found out.
    #[error("state_dir {}: {source}", dir.display())]
    Unknown {
        /// The state directory.
        dir: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The directory belongs to another user, who could not read what root creates there.
    #[error(
        "state_dir {} belongs to {owner}: run this as that user, such as with runuser -u {owner}",
        dir.display()
    )]
    OtherUser {
        /// The state directory.
        dir: PathBuf,
        /// The name of the owner, or the user id if it has no name.
        owner: String,
    },
}

/// Returns the type of the file system if its content is lost with the machine or the container.
pub(crate) fn ephemeral(dir: &Path) -> Option<&'static str> {
    ephemeral_type(statfs(dir).ok()?.f_type)
}

fn ephemeral_type(magic: FsWord) -> Option<&'static str> {
    match magic {
        TMPFS_MAGIC => Some("tmpfs"),
        RAMFS_MAGIC => Some("ramfs"),
        OVERLAYFS_SUPER_MAGIC => Some("an overlay"),
        _ => None,
    }
}

/// Checks the owner. The user that the relay runs as cannot read files that root creates there.
pub(crate) fn check_owner(dir: &Path) -> Result<(), OwnerError> {
    let owner = match fs::metadata(dir) {
        Ok(found) => Uid::from_raw(found.uid()),
        // If the directory does not exist, the relay creates it and owns it.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let dir = dir.to_owned();
            return Err(OwnerError::Unknown { dir, source });
        }
    };
    if !is_root_elsewhere(geteuid(), owner) {
        return Ok(());
    }
    Err(OwnerError::OtherUser {
        dir: dir.to_owned(),
        owner: name(owner),
    })
}

/// Returns whether the owner could not read files that `user` creates there.
fn is_root_elsewhere(user: Uid, owner: Uid) -> bool {
    user.is_root() && !owner.is_root()
}

fn name(user: Uid) -> String {
    let found = User::from_uid(user.as_raw().into()).ok().flatten();
    found.map_or_else(|| user.as_raw().to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXT4_SUPER_MAGIC: FsWord = 0xef53;
    const XFS_SUPER_MAGIC: FsWord = 0x5846_5342;

    #[test]
    fn a_file_system_that_ends_with_the_machine_is_ephemeral() {
        for (magic, expected) in [
            (TMPFS_MAGIC, Some("tmpfs")),
            (RAMFS_MAGIC, Some("ramfs")),
            (OVERLAYFS_SUPER_MAGIC, Some("an overlay")),
            (EXT4_SUPER_MAGIC, None),
            (XFS_SUPER_MAGIC, None),
        ] {
            assert_eq!(ephemeral_type(magic), expected);
        }
        // /dev/shm is always such a file system.
        let shared_memory = Path::new("/dev/shm");
        if shared_memory.is_dir() {
            assert_eq!(ephemeral(shared_memory), Some("tmpfs"));
        }
    }

    #[test]
    fn root_leaves_no_files_in_the_queue_of_another_user() {
        let (root, other) = (Uid::ROOT, Uid::from_raw(4_000_000));
        assert!(!is_root_elsewhere(root, root));
        assert!(!is_root_elsewhere(other, other));
        assert!(!is_root_elsewhere(other, root), "the system refuses it");
        assert!(is_root_elsewhere(root, other));
        assert_eq!(name(other), "4000000");
    }
}
