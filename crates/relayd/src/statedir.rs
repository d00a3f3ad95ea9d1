//! Whether the state directory can keep what must not be lost.

use std::path::Path;

use nix::sys::statfs;

/// The kind of the file system, if it goes with the machine or the container.
pub(crate) fn forgetful(dir: &Path) -> Option<&'static str> {
    match statfs::statfs(dir).ok()?.filesystem_type() {
        statfs::TMPFS_MAGIC => Some("tmpfs"),
        statfs::OVERLAYFS_SUPER_MAGIC => Some("an overlay"),
        _ => None,
    }
}
