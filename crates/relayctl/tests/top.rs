//! The live view, on a terminal and without one.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use relay_testkit::Terminal;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// What shows another screen, and what ends that.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const STATUS: &str = r#"{"messages":2,"fresh":1,"damaged":0,"states":{"queued":1,"deferred":1,"in-flight":0},"concurrency":120,"destinations":[{"name":"slow.test","waiting":2,"in_flight":0,"slots":5,"next_attempt":null,"last_trouble":"450 later"}],"version":"0","uptime":1,"state_dir":"/s","listeners":[]}"#;

/// What becomes of the daemon.
#[derive(Clone, Copy)]
enum Fate {
    Lives,
    /// It stops after this many answers.
    Gone(usize),
    /// After one answer it accepts requests and does not answer them.
    Hangs,
}

fn daemon(socket: &Path, fate: Fate) {
    let answers = match fate {
        Fate::Lives => usize::MAX,
        Fate::Gone(answers) => answers,
        Fate::Hangs => 1,
    };
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        for _ in 0..answers {
            answer(listener.accept().expect("a client").0);
        }
        if matches!(fate, Fate::Hangs) {
            let _hanging: Vec<_> = listener.incoming().collect();
        }
    });
}

fn answer(mut stream: UnixStream) {
    let lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
    lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .for_each(drop);
    let length = STATUS.len();
    // A client that has ended is gone.
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{STATUS}"
    );
}

fn relayctl(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relayctl"));
    command.arg("--socket").arg(socket).args(args);
    command
}

fn output(fate: Fate, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    daemon(&socket, fate);
    let output = relayctl(&socket, args).stdin(Stdio::null()).output();
    output.expect("relayctl runs")
}

/// The live view on a terminal.
struct Live {
    terminal: Terminal,
    modes: String,
    relayctl: Child,
    _dir: TempDir,
}

impl Live {
    fn start(fate: Fate, place: impl FnOnce(&mut Command)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("control.sock");
        daemon(&socket, fate);
        let terminal = Terminal::open();
        let modes = terminal.modes();
        let relayctl = terminal.run(&mut relayctl(&socket, &["top"]), place);
        terminal.wait_for(ENTER);
        terminal.wait_for("slow.test");
        Self {
            terminal,
            modes,
            relayctl,
            _dir: dir,
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.relayctl), signal).expect("it runs");
    }

    /// Its exit code, once it has ended; the terminal is then as it was.
    fn end(mut self) -> Option<i32> {
        self.terminal.wait_for(LEAVE);
        let ended = self.relayctl.wait().expect("an end");
        assert_eq!(self.terminal.modes(), self.modes);
        ended.code()
    }
}

#[test]
fn one_screen_is_plain_text() {
    let output = output(Fate::Gone(1), &["top", "--once"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.starts_with("relayd 0  up 1s  messages 2"), "{text}");
    let last = text.lines().last().expect("a destination");
    assert!(
        last.starts_with("slow.test") && last.ends_with("450 later"),
        "{last}"
    );
    assert!(!text.contains('\x1b'));
}

#[test]
fn with_json_it_prints_a_line_for_each_update_until_the_relay_stops() {
    for (answers, args, lines, code) in [
        (2, &["--json", "top", "--once"][..], 1, 0),
        (2, &["--json", "top"], 2, 2),
    ] {
        let output = output(Fate::Gone(answers), args);
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(text.lines().count(), lines, "{args:?}: {text}");
        for line in text.lines() {
            let status: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(status["messages"], 2);
        }
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn without_a_terminal_there_is_no_live_view() {
    let output = output(Fate::Gone(1), &["top"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--once"));
}

#[test]
fn q_ends_it_and_restores_the_terminal() {
    let live = Live::start(Fate::Lives, |_| {});
    assert_ne!(live.terminal.modes(), live.modes);
    live.terminal.press("xq");
    assert_eq!(live.end(), Some(0));
}

#[test]
fn a_signal_ends_it_and_restores_the_terminal() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let live = Live::start(Fate::Lives, |_| {});
        live.signal(signal);
        assert_eq!(live.end(), Some(0), "{signal:?}");
    }
}

#[test]
fn without_a_keyboard_it_runs_until_a_signal() {
    let live = Live::start(Fate::Lives, |command| {
        command.stdin(Stdio::null());
    });
    live.terminal.wait_for("slow.test");
    live.signal(Signal::INT);
    assert_eq!(live.end(), Some(0));
}

#[test]
fn a_stopped_relay_is_reported_after_the_terminal_is_restored() {
    let live = Live::start(Fate::Gone(2), |_| {});
    live.terminal.wait_for(LEAVE);
    live.terminal.wait_for("no relayd answers at");
    let mut relayctl = live.relayctl;
    assert_eq!(relayctl.wait().expect("an end").code(), Some(2));
    assert_eq!(live.terminal.modes(), live.modes);
}

#[test]
fn it_fills_the_terminal_after_a_change_of_its_size() {
    let live = Live::start(Fate::Hangs, |_| {});
    live.terminal.resize(9, 6);
    live.signal(Signal::WINCH);
    // The lines are cut to the new width.
    live.terminal.wait_for("\x1b[Kdestinati\r");
    live.terminal.wait_for("\x1b[Jslow.test");
    live.terminal.press("q");
    assert_eq!(live.end(), Some(0));
}

#[test]
fn the_terminal_is_restored_while_it_is_stopped() {
    let live = Live::start(Fate::Lives, |_| {});
    live.signal(Signal::TSTP);
    live.terminal.wait_for(LEAVE);
    let pid = Pid::from_child(&live.relayctl);
    let stopped = waitpid(Some(pid), WaitOptions::UNTRACED).expect("a child");
    assert!(stopped.is_some_and(|(_, status)| status.stopped()));
    assert_eq!(live.terminal.modes(), live.modes);
    live.signal(Signal::CONT);
    live.terminal.wait_for(ENTER);
    live.terminal.wait_for("slow.test");
    assert_ne!(live.terminal.modes(), live.modes);
    live.terminal.press("q");
    assert_eq!(live.end(), Some(0));
}
