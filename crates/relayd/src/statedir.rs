//! Checks the state directory: whether its file system is durable, and who owns it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::{self, FsType};
use nix::unistd::{Uid, User, geteuid};

/// Returns the type of the file system if its content is lost with the machine or the container.
pub(crate) fn forgetful(dir: &Path) -> Option<&'static str> {
    forgets(statfs::statfs(dir).ok()?.filesystem_type())
}

/// `RAMFS_MAGIC` of the kernel's `magic.h`.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

fn forgets(kind: FsType) -> Option<&'static str> {
    match kind {
        statfs::TMPFS_MAGIC => Some("tmpfs"),
        RAMFS_MAGIC => Some("ramfs"),
        statfs::OVERLAYFS_SUPER_MAGIC => Some("an overlay"),
        _ => None,
    }
}

/// Checks the owner. The user that the relay runs as cannot read files that root creates there.
pub(crate) fn check_owner(dir: &Path) -> Result<(), String> {
    let found = match fs::metadata(dir) {
        // If the directory does not exist, the relay creates it and owns it.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|e| format!("state_dir {}: {e}", dir.display()))?,
    };
    owned_by(geteuid(), Uid::from_raw(found.uid())).map_err(|owner| {
        let dir = dir.display();
        format!("state_dir {dir} belongs to {owner}: run this as that user, such as with runuser -u {owner}")
    })
}

/// Returns an error with the owner if that user could not read files that `user` creates there.
fn owned_by(user: Uid, owner: Uid) -> Result<(), String> {
    if !user.is_root() || owner.is_root() {
        return Ok(());
    }
    let name = User::from_uid(owner).ok().flatten().map(|user| user.name);
    Err(name.unwrap_or_else(|| owner.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_the_machine_is_warned_of() {
        for (kind, expected) in [
            (statfs::TMPFS_MAGIC, Some("tmpfs")),
            (RAMFS_MAGIC, Some("ramfs")),
            (statfs::OVERLAYFS_SUPER_MAGIC, Some("an overlay")),
            (statfs::EXT4_SUPER_MAGIC, None),
            (statfs::XFS_SUPER_MAGIC, None),
        ] {
            assert_eq!(forgets(kind), expected);
        }
        // /dev/shm is always such a file system.
        let shared_memory = Path::new("/dev/shm");
        if shared_memory.is_dir() {
            assert_eq!(forgetful(shared_memory), Some("tmpfs"));
        }
    }

    #[test]
    fn root_leaves_no_files_in_somebody_else_s_queue() {
        let (root, other) = (Uid::from_raw(0), Uid::from_raw(4_000_000));
        assert_eq!(owned_by(root, root), Ok(()));
        assert_eq!(owned_by(other, other), Ok(()));
        assert_eq!(owned_by(other, root), Ok(()), "the system's to refuse");
        assert_eq!(owned_by(root, other), Err("4000000".to_owned()));
    }
}
