//! Starts a daemon for each test, and speaks HTTP and SMTP with it.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The time limit of each step.
const DEADLINE: Duration = Duration::from_secs(20);

/// Returns the command `relayd --config FILE`.
pub fn relayd(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relayd"));
    command.arg("--config").arg(config).stdin(Stdio::null());
    command
}

/// Returns the first six lines of the configuration of every test.
pub fn config(state: &str, address: &str, socket: &str) -> String {
    format!(
        "hostname = \"relay.test\"\nstate_dir = {state:?}\n[[listener]]\naddress = {address:?}\n\
         [control]\nsocket = {socket:?}\n"
    )
}

/// A running daemon. It is killed when the test ends.
pub struct Relay {
    dir: TempDir,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    port: u16,
}

impl Relay {
    /// Starts a daemon with `extra` in its configuration, and waits until it listens.
    pub fn start(extra: &str) -> Self {
        Self::start_with(extra, |_| {})
    }

    /// Starts a daemon whose command is changed first.
    pub fn start_with(extra: &str, change: impl FnOnce(&mut Command)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let text = config(&path("state"), "127.0.0.1:0", &path("control.sock")) + extra;
        let file = dir.path().join("relayd.toml");
        fs::write(&file, text).expect("a file");
        let mut command = relayd(&file);
        change(&mut command);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("relayd runs");
        let errors = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                // The test may have ended already.
                let _ = sender.send(line);
            }
        });
        let mut relay = Self {
            dir,
            child,
            lines,
            seen: Vec::new(),
            port: 0,
        };
        let line = relay.wait_for_line("listening on 127.0.0.1:");
        let behind = line
            .split("listening on 127.0.0.1:")
            .nth(1)
            .expect("an address");
        let digits = behind.split(|c: char| !c.is_ascii_digit()).next();
        relay.port = digits
            .and_then(|digits| digits.parse().ok())
            .expect("a port");
        relay.wait_for_line("the queue is in");
        relay
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process");
    }

    /// Waits for the end and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("an end").code()
    }

    /// Returns the next line of the log that contains this text.
    pub fn wait_for_line(&mut self, said: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("{said:?} never came: {:?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(said) {
                return line;
            }
        }
    }

    /// Returns all lines so far, or all lines if the daemon has ended.
    pub fn log(&mut self) -> Vec<String> {
        match self.child.try_wait().expect("a child") {
            Some(_) => self.seen.extend(self.lines.iter()),
            None => self.seen.extend(self.lines.try_iter()),
        }
        self.seen.clone()
    }

    /// Returns the answer to a successful GET.
    pub fn get(&self, path: &str) -> Value {
        let (code, answer) = self.ask("GET", path);
        assert_eq!(code, 200, "{path}: {answer}");
        answer
    }

    pub fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        let (code, text) = self.text(method, path);
        (code, serde_json::from_str(&text).expect("JSON"))
    }

    /// Returns status and body of an answer of the control API. HTTP/1.0 has no chunks.
    pub fn text(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.path("control.sock")).expect("the socket");
        let mut request = format!("{method} {path} HTTP/1.0\r\n");
        let _ = write!(request, "host: relayd\r\ncontent-length: 0\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .expect("the daemon reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (code.expect("a code"), body.to_owned())
    }
}

/// Waits until the condition holds.
pub fn wait_for(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "it never came to that");
        thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An SMTP client that waits for each reply.
pub struct Smtp(BufReader<TcpStream>);

impl Smtp {
    /// Connects and reads the greeting.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a server");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let mut smtp = Self(BufReader::new(stream));
        assert!(smtp.line().starts_with("220 "));
        smtp
    }

    /// Returns the next line, or an empty one at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("text");
        line
    }

    /// Returns the last line of the reply.
    pub fn say(&mut self, command: &str) -> String {
        let line = format!("{command}\r\n");
        self.0
            .get_mut()
            .write_all(line.as_bytes())
            .expect("the server reads");
        loop {
            let line = self.line();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    /// Sends a message and returns its id.
    pub fn send(&mut self, to: &str) -> String {
        self.say("EHLO client.test");
        self.say("MAIL FROM:<app@sender.test>");
        assert!(self.say(&format!("RCPT TO:<{to}>")).starts_with("250 "));
        self.say("DATA");
        let reply = self.say("Subject: t\r\n\r\nhello\r\n.");
        reply
            .trim_end()
            .rsplit(' ')
            .next()
            .expect("an id")
            .to_owned()
    }
}
