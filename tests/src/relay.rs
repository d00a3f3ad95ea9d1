//! The real programs with their own state directory.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::launch::binaries;
use crate::{Client, DEADLINE, Launch};

/// A relay with its own state directory. It is killed when the test ends.
#[derive(Debug)]
pub struct Relay {
    dir: TempDir,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// The ports by role; of several listeners with one role, the first.
    ports: HashMap<String, u16>,
    log: Arc<Mutex<Vec<String>>>,
    /// Reads the log to its end.
    reader: Option<JoinHandle<()>>,
}

impl Running {
    fn kill(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }

    fn log(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Relay {
    /// Starts a relay with quick retries and `extra` in its configuration. `DIR` in `extra` stands
    /// for the relay's own directory.
    pub fn start(extra: &str) -> Self {
        let mut relay = Self::prepare(extra);
        relay.restart();
        relay
    }

    /// Prepares a relay without starting it.
    pub fn prepare(extra: &str) -> Self {
        let relay = Self {
            dir: tempfile::tempdir().expect("a directory"),
            running: None,
        };
        relay.configure(extra);
        relay
    }

    /// Replaces `extra` in the configuration file.
    pub fn configure(&self, extra: &str) {
        let dir = self.dir.path().display().to_string();
        let text = format!(
            "hostname = \"relay.test\"\nstate_dir = \"DIR/state\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"mx\"\n\
             [queue]\nretry_unit = \"1s\"\nretry_max_interval = \"2s\"\n\
             [control]\nsocket = \"DIR/control.sock\"\n{extra}",
        );
        self.write("relayd.toml", &text.replace("DIR", &dir));
    }

    /// The path of a file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in its directory atomically.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.path("new-file");
        fs::write(&new, text).expect("a file");
        fs::rename(&new, self.path(name)).expect("a name");
    }

    /// Kills it with SIGKILL, and returns the log since it was started.
    pub fn kill(&mut self) -> String {
        let running = self.running.take();
        let ended = running.map(|mut running| {
            running.kill();
            running.log()
        });
        ended.unwrap_or_default()
    }

    /// Starts it on the same state, after it was killed or has ended.
    pub fn restart(&mut self) {
        let started = self.launch(&Launch::plain());
        started.unwrap_or_else(|log| panic!("relayd ended: {log}"));
    }

    /// Starts it in a given way. Returns its log if it ended before it was up.
    pub fn launch(&mut self, launch: &Launch) -> Result<(), String> {
        let mut child = launch
            .command()
            .arg("--config")
            .arg(self.path("relayd.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("relayd runs");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let (mut said, mut ports) = (Vec::new(), HashMap::new());
        while !said
            .last()
            .is_some_and(|line: &String| line.contains("the queue is in"))
        {
            let Some(line) = log.next() else {
                let _ = child.wait();
                return Err(said.join("\n"));
            };
            let line = line.expect("text");
            if let Some((port, role)) = listening(&line) {
                ports.entry(role).or_insert(port);
            }
            said.push(line);
        }
        let said = Arc::new(Mutex::new(said));
        let lines = Arc::clone(&said);
        // Without a reader of the rest, the daemon would block on a full pipe.
        let reader = std::thread::spawn(move || {
            for line in log.map_while(Result::ok) {
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        self.running = Some(Running {
            child,
            ports,
            log: said,
            reader: Some(reader),
        });
        Ok(())
    }

    /// Waits until it has ended by itself, and returns the log since it was started.
    pub async fn wait_for_end(&mut self) -> String {
        let running = self.running.as_mut().expect("a running relay");
        let ended = async {
            while running.child.try_wait().expect("a child").is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let ended = timeout(DEADLINE, ended).await;
        let log = self.kill();
        assert!(ended.is_ok(), "it has not ended; log:\n{log}");
        log
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a running relay")
    }

    /// The port of its listener with this role.
    pub fn port(&self, role: &str) -> u16 {
        *self.running().ports.get(role).expect(role)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// Its log since it was started.
    pub fn log(&self) -> String {
        self.running().log()
    }

    /// Waits until its log contains this text.
    pub async fn wait_for_log(&self, said: &str) {
        self.wait_until(&format!("{said:?} in the log"), || {
            self.log().contains(said)
        })
        .await;
    }

    /// Waits until the condition is true.
    pub async fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let waiting = async {
            while !is_so() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = timeout(DEADLINE, waiting).await;
        assert!(waited.is_ok(), "no {what}; log:\n{}", self.log());
    }

    /// Connects to its listener for mail, reads the greeting and sends EHLO.
    pub async fn connect(&self) -> Client {
        self.connect_as("mx").await
    }

    /// Connects to the listener with this role.
    pub async fn connect_as(&self, role: &str) -> Client {
        let mut client = Client::connect(self.port(role)).await;
        assert!(client.reply().await.starts_with("220 "));
        client.command("EHLO client.test").await;
        client
    }

    /// Submits one message over a new connection, and returns its queue id.
    pub async fn send(&self, from: &str, to: &[&str], message: &[u8]) -> String {
        let mut client = self.connect().await;
        client.send(from, to, message).await.expect("a 250")
    }

    /// Runs `relayctl` for this relay, which need not be running.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        self.ctl_with(arguments, "")
    }

    /// Runs `relayctl` with this input.
    pub fn ctl_with(&self, arguments: &[&str], input: &str) -> Output {
        fed(&mut self.ctl_command(arguments), input)
    }

    /// Runs `sendmail` with this message. The relay need not be running.
    pub fn sendmail(&self, arguments: &[&str], message: &str) -> Output {
        self.sendmail_as("sendmail", arguments, message)
    }

    /// Runs `sendmail` under another name, by a link in the relay's directory.
    pub fn sendmail_as(&self, name: &str, arguments: &[&str], message: &str) -> Output {
        let link = self.path(name);
        if !link.exists() {
            symlink(binaries().join("sendmail"), &link).expect("a link");
        }
        let mut sendmail = Command::new(link);
        sendmail.arg("--config").arg(self.path("relayd.toml"));
        fed(sendmail.args(arguments), message)
    }

    /// Starts `relayctl` with its output in a pipe. The caller must end it.
    pub fn ctl_running(&self, arguments: &[&str]) -> Child {
        let mut command = self.ctl_command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("relayctl runs")
    }

    /// A `relayctl` command that can get other streams.
    pub fn ctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binaries().join("relayctl"));
        command.arg("--config").arg(self.path("relayd.toml"));
        command.args(arguments);
        command
    }

    /// Runs a subcommand of `relayd` on its queue. The relay need not be running.
    pub fn relayd(&self, arguments: &[&str]) -> Output {
        relayd(&self.path("relayd.toml"), arguments)
    }

    /// The output of a successful `relayctl`.
    pub fn done(&self, arguments: &[&str]) -> String {
        done(&self.ctl(arguments))
    }

    /// Adds a user who may log in.
    pub fn add_user(&self, name: &str, password: &str, senders: &[&str]) {
        let mut arguments = vec!["user", "add", name, "--password-stdin"];
        arguments.extend(senders.iter().flat_map(|sender| ["--sender", sender]));
        done(&self.ctl_with(&arguments, password));
    }

    /// The number of messages in the queue, from `relayctl qstat`.
    pub fn queued(&self) -> u64 {
        let output = self.ctl(&["qstat"]);
        let text = String::from_utf8(output.stdout).expect("text");
        let count = text
            .lines()
            .next()
            .and_then(|l| l.strip_prefix("messages in queue: "));
        count
            .and_then(|n| n.parse().ok())
            .unwrap_or_else(|| panic!("qstat said {text:?}"))
    }

    /// Waits until the queue is empty.
    pub async fn wait_until_empty(&self) {
        self.wait_until("empty queue", || self.queued() == 0).await;
    }

    /// The number of files under `state_dir/mess`.
    pub fn body_files(&self) -> usize {
        fs::read_dir(self.path("state/mess"))
            .expect("a folder")
            .count()
    }
}

/// Runs a program with this input.
fn fed(program: &mut Command, input: &str) -> Output {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that reads nothing may have ended.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("an end")
}

/// The output of a successful program.
fn done(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The port and role in a line of the log, if it has them.
fn listening(line: &str) -> Option<(u16, String)> {
    let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
    let (port, rest) = rest.split_once(" as ")?;
    Some((port.parse().ok()?, rest.split(' ').next()?.to_owned()))
}

/// Runs `relayd --check` on a configuration file.
pub fn check(file: &Path) -> Output {
    relayd(file, &["--check"])
}

/// Runs a program with `--help` after this subcommand.
pub fn help(program: &str, verb: &[&str]) -> Output {
    let mut command = Command::new(binaries().join(program));
    command.args(verb).arg("--help").stdin(Stdio::null());
    command.output().expect("it runs")
}

fn relayd(file: &Path, arguments: &[&str]) -> Output {
    let mut relayd = Command::new(binaries().join("relayd"));
    relayd.args(arguments).arg("--config").arg(file);
    relayd.stdin(Stdio::null()).output().expect("relayd runs")
}
