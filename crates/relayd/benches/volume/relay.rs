//! Runs the programs to measure.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::now;

/// A relay with its own state directory. It is killed on drop.
#[derive(Debug)]
pub struct Relay {
    dir: TempDir,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    port: u16,
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            // It may have ended already.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

impl Relay {
    /// Prepares a relay with the default configuration and `extra`. It does not run yet.
    pub fn prepare(extra: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().display();
        let text = format!(
            "hostname = \"relay.test\"\nstate_dir = \"{at}/state\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"mx\"\n\
             [control]\nsocket = \"{at}/control.sock\"\n[log]\nlevel = \"info\"\n{extra}"
        );
        fs::write(dir.path().join("relayd.toml"), text).expect("a file");
        Self { dir, running: None }
    }

    /// Returns the path of a file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the relay. Returns how long it takes until a client gets a greeting.
    pub fn start(&mut self) -> Duration {
        let since = now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_relayd"))
            .arg("--config")
            .arg(self.path("relayd.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("relayd runs");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let said = log.find_map(|line| port(&line.expect("text")));
        let port = said.expect("relayd listens");
        // The rest must be read, or the daemon waits for room in the pipe.
        thread::spawn(move || log.for_each(drop));
        self.running = Some(Running { child, port });
        greeting(port);
        since.elapsed()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a running relay")
    }

    pub fn port(&self) -> u16 {
        self.running().port
    }

    /// Returns the octets in the line of `/proc/PID/status` with this name.
    pub fn memory(&self, line: &str) -> u64 {
        let path = format!("/proc/{}/status", self.running().child.id());
        let status = fs::read_to_string(path).expect("Linux has it");
        let found = status.lines().find_map(|l| l.strip_prefix(line));
        let kibibytes = found.and_then(|rest| rest.split_whitespace().next());
        let kibibytes: u64 = kibibytes.and_then(|n| n.parse().ok()).expect("a number");
        kibibytes * 1024
    }

    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(relayctl());
        command.arg("--config").arg(self.path("relayd.toml"));
        let output = command.args(arguments).output().expect("relayctl runs");
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// `relayctl --json qstat`
    pub fn status(&self) -> Value {
        let output = self.ctl(&["--json", "qstat"]);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// Returns the port if the line of the log has it.
fn port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
    rest.split(' ').next()?.parse().ok()
}

/// Waits for the greeting.
fn greeting(port: u16) {
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let mut line = String::new();
    let read = BufReader::new(stream).read_line(&mut line);
    assert!(read.is_ok() && line.starts_with("220 "), "{line}");
}

/// Returns the path of relayctl, in the directory of relayd, and builds it if it is not up to date.
fn relayctl() -> &'static Path {
    static RELAYCTL: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    RELAYCTL.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_relayd"));
        let directory = directory.parent().expect("target/PROFILE/relayd");
        let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        build.args(["build", "--quiet", "-p", "relayctl", "--target-dir"]);
        build.arg(directory.parent().expect("target/PROFILE"));
        if directory.ends_with("release") {
            build.arg("--release");
        }
        assert!(
            build.status().expect("cargo runs").success(),
            "relayctl does not build"
        );
        directory.join("relayctl")
    })
}
