//! The content of a message, as the operator sees it.

use std::fs;
use std::io::Read;
use std::process::{Child, ChildStdout, Stdio};

use relay_testkit::Terminal;
use relay_tests::Relay;
use serde_json::Value;

/// More octets than all buffers on the way can hold.
const LARGE: usize = 32 << 20;
const LITTLE: u64 = 16 << 20;

/// Starts a relay that makes no delivery attempts.
fn world() -> Relay {
    let relay = Relay::start("[limits]\nmessage_size = \"64MiB\"\n");
    relay.done(&["queue", "hold", "--incoming", "--all"]);
    relay
}

async fn send(relay: &Relay, body: &str) -> String {
    let message = format!("Subject: t\r\n\r\n{body}");
    let to = &["u@dest.test"];
    relay.send("a@sender.test", to, message.as_bytes()).await
}

#[tokio::test]
async fn headers_and_body_are_shown_as_they_are_sent() {
    let relay = world();
    let line = "0123456789\u{e4}\r\n";
    for body in [String::new(), line.to_owned(), line.repeat(60_000)] {
        let id = send(&relay, &body).await;
        let show = |rest: &[&str]| relay.done(&[&["queue", "show", &id], rest].concat());
        let headers = show(&["--headers"]);
        assert!(headers.starts_with("Received: ") && headers.ends_with("Subject: t\r\n\r\n"));
        assert_eq!(show(&["--body"]), body);
        assert_eq!(show(&["--headers", "--body"]), [&*headers, &body].concat());
        let json = show(&["--body", "--headers", "--json"]);
        let whole: Value = serde_json::from_str(&json).expect("an object");
        assert_eq!(whole["id"], *id);
        assert_eq!(
            (&whole["headers"], &whole["body"]),
            (&headers.into(), &body.into())
        );
        let json = show(&["--body", "--json"]);
        let part: Value = serde_json::from_str(&json).expect("an object");
        assert_eq!(
            (&part["headers"], &part["body"]),
            (&Value::Null, &whole["body"])
        );
    }
    let gone = relay.ctl(&["queue", "show", "06Q3ZV9WQ0K4D", "--body"]);
    assert_eq!(gone.status.code(), Some(1));
}

#[tokio::test]
async fn a_large_body_is_never_in_memory_as_a_whole() {
    let relay = world();
    let line = "0123456789abcdef".repeat(4) + "\r\n";
    let body = line.repeat(LARGE / line.len());
    let id = send(&relay, &body).await;
    let before = most_memory(relay.pid());
    for form in [&["--body"][..], &["--body", "--json"]] {
        let mut relayctl = relay.ctl_running(&[&["queue", "show", &id], form].concat());
        let mut shown = relayctl.stdout.take().expect("a pipe");
        // `relayctl` waits until the rest is read.
        let first = read_most(&mut shown, body.len() - (1 << 20));
        let taken = most_memory(relayctl.id());
        assert!(taken < LITTLE, "{taken}");
        assert!(first + read_most(&mut shown, usize::MAX) >= body.len());
        assert_ended_well(relayctl);
    }
    let taken = most_memory(relay.pid()) - before;
    assert!(taken < LITTLE, "{taken}");
}

/// Reads at least `most` octets, or all to the end. Returns how many it has read.
fn read_most(shown: &mut ChildStdout, most: usize) -> usize {
    let (mut some, mut all) = (vec![0; 1 << 16], 0);
    while all < most {
        match shown.read(&mut some).expect("text") {
            0 => break,
            length => all += length,
        }
    }
    all
}

fn assert_ended_well(mut child: Child) {
    assert!(child.wait().expect("an end").success());
}

/// Returns the peak memory of a process in octets.
fn most_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.expect("a size").parse::<u64>().expect("a number") * 1024
}

#[tokio::test]
async fn the_content_of_a_message_cannot_control_the_terminal_that_shows_it() {
    let relay = world();
    let body = "a\x1b]0;owned\x07b\u{9b}2J\u{202e}c\r\nend\r\n";
    let id = send(&relay, body).await;
    let shown = "\"a\\u001b]0;owned\\u0007b\\u009b2J\\u202ec\\r\\nend\\r\\n\"}";
    for (form, expected) in [
        (
            &["--body"][..],
            "a\\u{1b}]0;owned\\u{7}b\\u{9b}2J\\u{202e}c\r\nend\r\n",
        ),
        (&["--body", "--json"], shown),
    ] {
        let terminal = Terminal::open();
        let mut command = relay.ctl_command(&[&["queue", "show", &id], form].concat());
        let relayctl = terminal.run(&mut command, |_| {});
        let text = terminal.wait_for(expected);
        assert!(
            !text.contains('\x1b') && !text.contains('\u{9b}'),
            "{text:?}"
        );
        assert_ended_well(relayctl);
    }
    // Into a pipe the content goes unchanged, even if standard error is a terminal.
    let terminal = Terminal::open();
    let mut command = relay.ctl_command(&["queue", "show", &id, "--body"]);
    let relayctl = terminal.run(&mut command, |command| {
        command.stdout(Stdio::piped());
    });
    let output = relayctl.wait_with_output().expect("an end");
    assert_eq!(String::from_utf8_lossy(&output.stdout), body);
}

#[tokio::test]
async fn a_message_without_its_body_file_is_reported_as_damaged() {
    let relay = world();
    let id = send(&relay, &"x\r\n".repeat(60_000)).await;
    fs::remove_file(relay.path("state/mess").join(&id)).expect("a body file");
    let output = relay.ctl(&["queue", "show", &id, "--body"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    for part in [&*id, "body file is missing", "state/corrupt"] {
        assert!(said.contains(part), "{said}");
    }
}
