//! Replaces a small file atomically and durably: a reader, or a restart after a power cut, finds either
//! the old content or the new content, never a part of it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

/// The numeric user and group that own a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user id.
    pub user: u32,
    /// The group id.
    pub group: u32,
}

/// Replaces the content of `file`, which gets mode 0600, and returns once the content would survive a
/// power cut. If `file` is a symbolic link, the file it points to is replaced.
///
/// `owner` is the new owner. Without it, the calling user owns the file.
pub fn replace(file: &Path, content: &[u8], owner: Option<Owner>) -> io::Result<()> {
    let file = resolve(file)?;
    let dir = directory_of(&file);
    // It is created with mode 0600, so no one else can read it before it is renamed.
    let mut temporary = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
    temporary.write_all(content)?;
    if let Some(owner) = owner {
        fchown(temporary.as_file(), Some(owner.user), Some(owner.group))?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(&file)?;
    // The rename is durable only when the directory has been synced as well.
    File::open(dir)?.sync_all()
}

/// Follows symbolic links to the file itself. A file that does not exist yet keeps its own name.
pub fn resolve(file: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(file) {
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(file.to_owned()),
        found => found,
    }
}

/// Returns the directory that contains the file.
pub fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_new_content_is_private_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("users");
        fs::write(&file, "old").expect("a file");
        let before = fs::metadata(&file).expect("a file").ino();
        replace(&file, b"new", None).expect("a disk");
        let found = fs::metadata(&file).expect("a file");
        assert_eq!(fs::read(&file).expect("a file"), b"new");
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert_ne!(found.ino(), before, "written beside it, then renamed");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().expect("a directory");
        let (link, file) = (dir.path().join("link"), dir.path().join("file"));
        fs::write(&file, "old").expect("a file");
        symlink(&file, &link).expect("a link");
        replace(&link, b"new", None).expect("a disk");
        assert_eq!(fs::read(&file).expect("a file"), b"new");
        assert!(link.is_symlink());
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("nowhere/users");
        replace(&file, b"new", None).expect_err("no such directory");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
    }
}
