//! A file system for one test, in a file. It can lose power during a write, or be full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system. It is unmounted at the end. Needs root and loop devices.
#[derive(Debug)]
pub struct Volume {
    folder: TempDir,
    mount: PathBuf,
    kind: String,
}

impl Volume {
    /// Makes a file system of this kind, `ext4` or `xfs`, and mounts it at the new directory
    /// `mount`.
    pub fn mount(kind: &str, size: &str, mount: &Path) -> Self {
        let volume = Self {
            folder: tempfile::tempdir().expect("a folder"),
            mount: mount.to_owned(),
            kind: kind.to_owned(),
        };
        let image = volume.image();
        let image = image.to_str().expect("text");
        run("truncate", &["--size", size, image]);
        // No blocks are reserved for root, who runs this.
        let options: &[&str] = match kind {
            "ext4" => &["-q", "-F", "-m", "0"],
            _ => &["-q"],
        };
        run(&format!("mkfs.{kind}"), &[options, &[image]].concat());
        fs::create_dir_all(mount).expect("a folder");
        volume.mount_again();
        volume
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Cuts the power: data that was not synced is lost, and open files return errors from now on.
    pub fn cut_power(&self) {
        let mount = self.mount.to_str().expect("text");
        // FS_IOC_SHUTDOWN with NOLOGFLUSH: not even the journal in memory is written.
        run("xfs_io", &["-x", "-c", "shutdown", mount]);
    }

    /// Mounts it again after a power cut. No file may be open there.
    pub fn power_up(&self) {
        run("umount", &[self.mount.to_str().expect("text")]);
        self.mount_again();
    }

    fn mount_again(&self) {
        // Data that is not synced stays in memory as long as possible.
        let options = match &*self.kind {
            "ext4" => "loop,commit=300",
            _ => "loop",
        };
        let (image, mount) = (self.image(), self.mount.to_str().expect("text"));
        let image = image.to_str().expect("text");
        run("mount", &["-o", options, image, mount]);
    }

    /// Fills the file system until [`Volume::make_room`].
    pub fn fill(&self) {
        let file = self.mount.join("filler");
        for block in ["1M", "1k"] {
            let filled = Command::new("dd")
                .args(["if=/dev/zero", "oflag=append", "conv=notrunc"])
                .arg(format!("of={}", file.display()))
                .arg(format!("bs={block}"))
                .output()
                .expect("dd runs");
            assert!(!filled.status.success(), "it becomes full");
        }
    }

    /// Frees the space again.
    pub fn make_room(&self) {
        fs::remove_file(self.mount.join("filler")).expect("a filler");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // After a failed test a relay may still have files open there.
        let mut unmount = Command::new("umount");
        let _ = unmount.arg("--lazy").arg(&self.mount).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|reason| panic!("{program}: {reason}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
}
