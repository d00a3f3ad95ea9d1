//! What the end-to-end tests share: the real `relayd` and `relayctl` on loopback, and a client.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The folder of the programs, which are built if they are not there or not up to date.
fn binaries() -> &'static Path {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let test = std::env::current_exe().expect("a test is a program");
        let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
        let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        build.args(["build", "--quiet", "-p", "relayd", "-p", "relayctl"]);
        let target = folder.parent().expect("target/PROFILE");
        build.arg("--target-dir").arg(target);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let ended = build.status().expect("cargo runs");
        assert!(ended.success(), "relayd and relayctl do not build");
        folder.to_owned()
    })
}

/// A relay with a state directory of its own; killed when the test ends.
#[derive(Debug)]
pub struct Relay {
    dir: TempDir,
    extra: String,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    port: u16,
    /// Reads the log to its end.
    log: Option<JoinHandle<String>>,
}

impl Running {
    /// Its log, once it has ended.
    fn kill(&mut self) -> String {
        // One that has ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log.take().map(JoinHandle::join);
        log.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Relay {
    /// Starts one, with quick retries and `extra` in its configuration.
    pub fn start(extra: &str) -> Self {
        let mut relay = Self {
            dir: tempfile::tempdir().expect("a directory"),
            extra: extra.to_owned(),
            running: None,
        };
        relay.restart();
        relay
    }

    /// Ends it with SIGKILL; the log of this life of it, without its beginning.
    pub fn kill(&mut self) -> String {
        self.running
            .take()
            .map(|mut running| running.kill())
            .unwrap_or_default()
    }

    /// Starts it, on the same state, once it has been killed or has ended.
    pub fn restart(&mut self) {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let config = path("relayd.toml");
        let text = format!(
            "hostname = \"relay.test\"\nstate_dir = {:?}\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"mx\"\n\
             [queue]\nretry_unit = \"1s\"\nretry_max_interval = \"2s\"\n\
             [control]\nsocket = {:?}\n{}",
            path("state"),
            path("control.sock"),
            self.extra
        );
        fs::write(&config, text).expect("a file");
        let mut child = Command::new(binaries().join("relayd"))
            .args(["--config", &config])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("relayd runs");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        let port = loop {
            let mut line = String::new();
            let length = log.read_line(&mut line).expect("text");
            said += &line;
            assert!(length > 0, "relayd ended: {said}");
            if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
                break digits.and_then(|d| d.parse().ok()).expect("a port");
            }
        };
        // Somebody has to read the rest, or the daemon waits for room in the pipe.
        let log = std::thread::spawn(move || std::io::read_to_string(log).unwrap_or_default());
        self.running = Some(Running {
            child,
            port,
            log: Some(log),
        });
    }

    /// A connection to it that has been greeted.
    pub async fn connect(&self) -> Client {
        let port = self.running.as_ref().expect("a running relay").port;
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("it listens");
        let mut client = Client {
            stream: tokio::io::BufReader::new(stream),
        };
        assert!(client.reply().await.starts_with("220 "));
        client.command("EHLO client.test").await;
        client
    }

    /// Submits one message on a connection of its own; its queue id.
    pub async fn send(&self, from: &str, to: &[&str], message: &[u8]) -> String {
        let mut client = self.connect().await;
        client.send(from, to, message).await.expect("a 250")
    }

    /// What `relayctl` prints.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        Command::new(binaries().join("relayctl"))
            .arg("--socket")
            .arg(self.dir.path().join("control.sock"))
            .args(arguments)
            .output()
            .expect("relayctl runs")
    }

    /// Messages in the queue, as `relayctl qstat` counts them.
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
        let empty = async {
            while self.queued() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, empty).await.expect("the queue empties");
    }

    /// The files under `state_dir/mess`.
    pub fn body_files(&self) -> usize {
        fs::read_dir(self.dir.path().join("state/mess"))
            .expect("a folder")
            .count()
    }
}

/// A client that says just what it is told.
#[derive(Debug)]
pub struct Client {
    stream: tokio::io::BufReader<TcpStream>,
}

impl Client {
    /// One whole reply; empty when the relay has hung up.
    pub async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            let read = timeout(DEADLINE, self.stream.read_line(&mut line)).await;
            let length = read.expect("a reply in time").unwrap_or_default();
            reply += &line;
            if length == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return reply.trim_end().to_owned();
            }
        }
    }

    /// Sends one line and reads its reply.
    pub async fn command(&mut self, line: &str) -> String {
        self.write(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// One transaction; the queue id, or the reply that ended it.
    pub async fn send(
        &mut self,
        from: &str,
        to: &[&str],
        message: &[u8],
    ) -> Result<String, String> {
        let mut commands = vec![format!("MAIL FROM:<{from}>")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        commands.push("DATA".into());
        for command in commands {
            let reply = self.command(&command).await;
            if !reply.starts_with(['2', '3']) {
                return Err(reply);
            }
        }
        let stuffed = String::from_utf8_lossy(message).replace("\r\n.", "\r\n..");
        self.write(format!("{stuffed}.\r\n").as_bytes()).await;
        let reply = self.reply().await;
        match reply.strip_prefix("250 ").and_then(|r| r.rsplit_once(' ')) {
            Some((_, id)) => Ok(id.to_owned()),
            None => Err(reply),
        }
    }

    /// A relay that has been killed in the meantime is the reply's to find out.
    async fn write(&mut self, octets: &[u8]) {
        let _ = self.stream.get_mut().write_all(octets).await;
    }
}
