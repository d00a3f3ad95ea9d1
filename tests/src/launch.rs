//! Ways to start the daemon: normally, or with a fault.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A way to start the daemon.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    has_crash_points: bool,
    environment: Vec<(String, String)>,
    /// The words of another program that runs the daemon, before the daemon's own command line.
    under: Vec<String>,
}

impl Launch {
    /// Starts the daemon normally.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Makes it die at this point: `synced`, or `synced:3` for the third time it gets there.
    pub fn dying_at(point: &str) -> Self {
        Self::crash_points("RELAY_CRASH_AT", point)
    }

    /// Makes its committer answer without `fdatasync`.
    pub fn without_fdatasync() -> Self {
        Self::crash_points("RELAY_LEAVE_OUT", "fdatasync")
    }

    /// Makes this disk call fail: `body-write`, or `body-write:3` for the third call. The error is
    /// `EIO` or `ENOSPC`.
    pub fn failing_at(call: &str, error: &str) -> Self {
        let mut launch = Self::crash_points("RELAY_FAIL_AT", call);
        let with = ("RELAY_FAIL_WITH".to_owned(), error.to_owned());
        launch.environment.push(with);
        launch
    }

    /// Runs it under another program: `["eatmydata"]`.
    pub fn under(words: &[&str]) -> Self {
        Self {
            under: words.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    fn crash_points(name: &str, value: &str) -> Self {
        Self {
            has_crash_points: true,
            environment: vec![(name.to_owned(), value.to_owned())],
            ..Self::default()
        }
    }

    pub(crate) fn command(&self) -> Command {
        let program = self.program();
        let mut command = match self.under.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.envs(self.environment.iter().cloned());
        command
    }

    /// The daemon's program file.
    pub fn program(&self) -> PathBuf {
        if self.has_crash_points {
            crash_points().to_owned()
        } else {
            binaries().join("relayd")
        }
    }
}

/// The directory of the programs. They are built if they are missing or out of date.
pub(crate) fn binaries() -> &'static Path {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let folder = folder();
        let mut options = vec![];
        if folder.ends_with("release") {
            options.push("--release");
        }
        build(&options);
        folder
    })
}

/// The daemon with crash points, which exists only in a test profile.
fn crash_points() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let features = ["--features", "relayd/crash-points"];
        build(&[&features[..], &["--bin", "relayd-crash-points"]].concat());
        folder().with_file_name("debug").join("relayd-crash-points")
    })
}

/// The directory for programs of the profile that this test was built with.
fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    folder.to_owned()
}

fn build(options: &[&str]) {
    let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    let packages = ["relayd", "relayctl", "relay-sendmail"];
    build.args(["build", "--quiet"]);
    build.args(packages.iter().flat_map(|package| ["-p", package]));
    let folder = folder();
    let target = folder.parent().expect("target/PROFILE");
    build.arg("--target-dir").arg(target).args(options);
    let ended = build.status().expect("cargo runs");
    assert!(ended.success(), "the programs do not build");
}
