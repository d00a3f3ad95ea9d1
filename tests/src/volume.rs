//! A file system of a test's own, in a file, that can be shut down in mid-write or be full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system; it is unmounted in the end. Needs root and loop devices.
#[derive(Debug)]
pub struct Volume {
    folder: TempDir,
    mount: PathBuf,
    kind: String,
}

impl Volume {
    /// A new one of this kind, `ext4` or `xfs`, mounted at `mount`, which is made.
    pub fn mount(kind: &str, size: &str, mount: &Path) -> Self {
        let volume = Self {
            folder: tempfile::tempdir().expect("a folder"),
            mount: mount.to_owned(),
            kind: kind.to_owned(),
        };
        let image = volume.image();
        let image = image.to_str().expect("text");
        run("truncate", &["--size", size, image]);
        // Nothing is kept back for root, who runs this.
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

    /// What was not synced is gone. Whoever has files open there gets errors from now on.
    pub fn cut_power(&self) {
        let mount = self.mount.to_str().expect("text");
        // Not even the journal that is in memory is written: FS_IOC_SHUTDOWN with NOLOGFLUSH.
        run("xfs_io", &["-x", "-c", "shutdown", mount]);
    }

    /// As after the power is back; nobody may have files open there.
    pub fn power_up(&self) {
        run("umount", &[self.mount.to_str().expect("text")]);
        self.mount_again();
    }

    fn mount_again(&self) {
        // What is not synced stays in memory for as long as it may.
        let options = match &*self.kind {
            "ext4" => "loop,commit=300",
            _ => "loop",
        };
        let (image, mount) = (self.image(), self.mount.to_str().expect("text"));
        let image = image.to_str().expect("text");
        run("mount", &["-o", options, image, mount]);
    }

    /// Takes all the room that there is, until [`Volume::make_room`].
    pub fn fill(&self) {
        let file = self.mount.join("filler");
        for block in ["1M", "1k"] {
            let filled = Command::new("dd")
                .args(["if=/dev/zero", "oflag=append", "conv=notrunc"])
                .arg(format!("of={}", file.display()))
                .arg(format!("bs={block}"))
                .output()
                .expect("dd runs");
            assert!(!filled.status.success(), "there is an end");
        }
    }

    /// Gives it back.
    pub fn make_room(&self) {
        fs::remove_file(self.mount.join("filler")).expect("a filler");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // When a test has failed, a relay may have files open there still.
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
