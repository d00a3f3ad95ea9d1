//! Notices changed files. They are checked at intervals and read again once they no longer change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Distinguishes versions of a file without reading it. `None` if the file does not exist.
type Stamp = Option<(i64, i64, u64, u64)>;

/// The stamps of some files at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stamps(BTreeMap<PathBuf, Stamp>);

impl Stamps {
    /// Takes the stamps of the files. A symbolic link has the stamp of its target, because
    /// certificates are often renewed by changing a link.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let stamp = |file: &Path| {
            let found = fs::metadata(file).ok()?;
            Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
        };
        let files = files.into_iter();
        Self(files.map(|file| (file.to_owned(), stamp(file))).collect())
    }

    /// Adds the current stamps of these files.
    pub(crate) fn with<'a>(mut self, files: impl IntoIterator<Item = &'a Path>) -> Self {
        self.0.extend(Self::of(files).0);
        self
    }
}

/// The stamps of the files in use, and those of the last check.
///
/// A change counts once it has been seen twice. So a file that is still being written, or the
/// second of two related files, has the time between two checks to be completed.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    used: Stamps,
    seen: Stamps,
}

impl Watch {
    /// Records that the files were read with these stamps. The stamps must be taken before the
    /// reading, so that a change in between causes another reading.
    pub(crate) fn read(&mut self, stamps: Stamps) {
        self.seen = stamps.clone();
        self.used = stamps;
    }

    /// Returns whether the files must be read again. Invalid files are not read again before they
    /// change once more.
    pub(crate) fn look(&mut self, stamps: Stamps) -> bool {
        let settled = stamps == self.seen;
        let changed = settled && stamps != self.used;
        if changed {
            self.used = stamps;
        } else if !settled {
            self.seen = stamps;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_the_files_no_longer_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
        let look = || Stamps::of([cert.as_path(), key.as_path()]);
        let mut watch = Watch::default();
        watch.read(look());
        assert!(!watch.look(look()));
        fs::write(&cert, "half").expect("a file");
        assert!(!watch.look(look()), "it may still be written");
        fs::write(&cert, "half and half").expect("a file");
        assert!(!watch.look(look()), "it was");
        fs::write(&key, "key").expect("a file");
        assert!(!watch.look(look()), "the pair is not complete");
        assert!(watch.look(look()));
        assert!(!watch.look(look()), "once is enough");
    }

    #[test]
    fn another_file_of_the_same_length_and_time_is_a_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, other) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&file, "one").expect("a file");
        fs::write(&other, "two").expect("a file");
        let time = fs::metadata(&file)
            .and_then(|m| m.modified())
            .expect("a time");
        let opened = fs::File::options()
            .write(true)
            .open(&other)
            .expect("a file");
        opened.set_modified(time).expect("a time");
        let before = Stamps::of([file.as_path()]);
        fs::rename(&other, &file).expect("a name");
        assert_ne!(before, Stamps::of([file.as_path()]));
    }

    #[test]
    fn a_change_that_is_undone_does_not_count() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a");
        let look = || Stamps::of([file.as_path()]);
        let mut watch = Watch::default();
        watch.read(look());
        fs::write(&file, "x").expect("a file");
        assert!(!watch.look(look()));
        fs::remove_file(&file).expect("a file");
        assert!(!watch.look(look()));
        assert!(!watch.look(look()));
    }
}
