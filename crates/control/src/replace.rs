//! A small file replaced whole: whoever reads it, and whenever the power goes, there is the old
//! content or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

/// A user and a group of the system, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// Puts `content` into `file`, for its owner's eyes only (mode 0600), and returns once it would
/// survive a power cut. Where `file` is a link, what it leads to is replaced.
///
/// `owner`: whose it becomes, if that is not the user who calls.
pub fn replace(file: &Path, content: &[u8], owner: Option<Owner>) -> io::Result<()> {
    let file = target(file)?;
    let dir = folder(&file);
    // Made with mode 0600, so nobody reads it even before it has its name.
    let mut temporary = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
    temporary.write_all(content)?;
    if let Some(owner) = owner {
        fchown(temporary.as_file(), Some(owner.user), Some(owner.group))?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(&file)?;
    // The new name is in the folder, which has to reach the disk as well.
    File::open(dir)?.sync_all()
}

/// The file behind links; one that is not there yet is what it is called.
pub(crate) fn target(file: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(file) {
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(file.to_owned()),
        found => found,
    }
}

/// The folder that the file's name is in.
pub(crate) fn folder(file: &Path) -> &Path {
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
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
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
    fn where_nothing_can_be_written_the_old_content_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("nowhere/users");
        replace(&file, b"new", None).expect_err("no such folder");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }
}
