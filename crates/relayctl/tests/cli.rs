//! Runs the command against a socket that answers as the daemon does, or that does not answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

const STATUS: &str = r#"{"messages":2,"fresh":1,"damaged":0,"states":{"queued":1,"deferred":1,"in-flight":0},"books":{"accepted":3,"reports":1,"delivered":1,"bounced":0,"discarded":1,"set_aside":0},"concurrency":120,"destinations":[],"version":"0","uptime":1,"state_dir":"/s","listeners":[],"certificates":[],"alarms":[],"reading":false,"reports_suppressed":0,"orders":{"suspended":[],"hold_incoming":[]}}"#;
const AUDIT: &str = r#"{"accepted":3,"reports":1,"delivered":1,"bounced":0,"discarded":1,"set_aside":0,"queued":2,"balanced":true}"#;
const APPLIED: &str =
    r#"{"matched":3,"changed":2,"pending":0,"untold":0,"held":1,"unknown":[],"problems":[]}"#;
const SUMMARY: &str = r#"{"ages_below":[],"total":{"name":"TOTAL","recipients":2,"ages":[2]},"destinations":[{"name":"b.test","recipients":2,"ages":[2]}]}"#;
const CHANGED: &str = r#"{"changed":1,"orders":{"suspended":["a.test"],"hold_incoming":[{"domain":"b.test","sender":null,"since":1795230600}]}}"#;
const ENTRY: &str = r#"{"id":"06Q3ZV9WQ0K4D","sender":"s@a.test","arrived":1795230600,"size":7,"held":false,"recipients":[{"address":"u@b.test","state":"queued","attempts":0,"next_attempt":null,"last_reply":null,"host":null}]}"#;

/// Answers one request; returns its method, its path and its body.
fn answer(socket: &Path, status: &str, body: &str) -> JoinHandle<String> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
        let mut lines = reader.by_ref().lines().map(|line| line.expect("text"));
        let first = lines.next().expect("a request");
        let fields: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        let length = fields
            .iter()
            .find_map(|f| f.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
        reader.read_exact(&mut body).expect("the body");
        // The client may have disconnected.
        let _ = stream.write_all(answer.as_bytes());
        let request = first.strip_suffix("HTTP/1.1").expect("a request line");
        request.to_owned() + &String::from_utf8(body).expect("text")
    })
}

fn relayctl(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relayctl"));
    command.arg("--socket").arg(socket).args(args);
    command
}

fn run(socket: &Path, args: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = relayctl(socket, args).output().expect("relayctl runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        status.code().expect("an end of its own"),
        text(stdout),
        text(stderr),
    )
}

/// The arguments, the beginning of the request, the answer, and the beginning of the output.
type Row<'a> = (&'a [&'a str], &'a str, &'a str, &'a str);

fn sends_its_request(rows: &[Row<'_>]) {
    for (args, request, body, shown) in rows {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("control.sock");
        let daemon = answer(&socket, "200 OK", body);
        let (code, out, err) = run(&socket, args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(out.starts_with(*shown), "{args:?}: {out}");
        assert!(
            daemon.join().expect("no panic").starts_with(*request),
            "{args:?}"
        );
    }
}

#[test]
fn each_verb_that_shows_the_queue_sends_its_request() {
    let list = format!("[\n{ENTRY},\n{ENTRY}\n]\n");
    let detail = ENTRY.replacen(
        "\"held\"",
        r#""origin":"client","eight_bit":false,"utf8":false,"held""#,
        1,
    );
    let detail = detail.replace(
        "\"host\":null",
        r#""host":null,"destination":"b.test","history":[]"#,
    );
    sends_its_request(&[
        (
            &["qstat"][..],
            "GET /v1/status ",
            STATUS,
            "messages in queue: 2\nmessages in queue but not yet preprocessed: 1\n",
        ),
        (
            &["qread"],
            "GET /v1/queue ",
            &list,
            "21 Nov 2026 03:10:00 GMT  #06Q3ZV9WQ0K4D  7  <s@a.test>\n\tremote\tu@b.test\n21 Nov",
        ),
        (
            &["queue", "list"],
            "GET /v1/queue ",
            &list,
            "06Q3ZV9WQ0K4D  21 Nov 2026 03:10:00 GMT  7 bytes  from <s@a.test>\n",
        ),
        (&["--json", "queue", "list"], "GET /v1/queue ", &list, &list),
        (&["queue", "list", "--json"], "GET /v1/queue ", "[]", "[]\n"),
        (
            &["queue", "show", "06Q3ZV9WQ0K4D"],
            "GET /v1/queue/06Q3ZV9WQ0K4D ",
            &detail,
            "message   06Q3ZV9WQ0K4D\n",
        ),
        (&["qstat", "--json"], "GET /v1/status ", STATUS, STATUS),
    ]);
}

#[test]
fn each_other_verb_sends_its_request() {
    let list = format!("[\n{ENTRY},\n{ENTRY}\n]\n");
    sends_its_request(&[
        (
            &["audit"],
            "GET /v1/audit ",
            AUDIT,
            "accepted from clients              3\nreports of our own                 1\n",
        ),
        (&["audit", "--json"], "GET /v1/audit ", AUDIT, AUDIT),
        (
            &["reload"],
            "POST /v1/reload ",
            r#"{"problems":[]}"#,
            "reloaded\n",
        ),
        (
            &["queue", "list", "--domain", "b.test", "--state", "held"],
            "GET /v1/queue?domain=b.test&state=held ",
            &list,
            "06Q3ZV9WQ0K4D  ",
        ),
        (
            &["queue", "summary", "--domain", "b.test"],
            "GET /v1/summary?domain=b.test ",
            SUMMARY,
            "              T      0+\nTOTAL         2       2\nb.test        2       2\n",
        ),
        (
            &["queue", "list", "--all"],
            "GET /v1/queue ",
            &list,
            "06Q3ZV9WQ0K4D  ",
        ),
    ]);
}

#[test]
fn each_verb_that_changes_something_sends_its_request() {
    sends_its_request(&[
        (
            &["queue", "retry", "--all"],
            r#"POST /v1/queue/retry "all""#,
            APPLIED,
            "messages tried now: 2 of 3\n",
        ),
        (
            &["queue", "hold", "--sender", "<>"],
            r#"POST /v1/queue/hold {"matching":{"sender":""}}"#,
            APPLIED,
            "messages held: 2 of 3\n",
        ),
        (
            &["queue", "release", "06Q3ZV9WQ0K4D", "--json"],
            r#"POST /v1/queue/release {"matching":{"id":["06Q3ZV9WQ0K4D"]}}"#,
            APPLIED,
            APPLIED,
        ),
        (
            &["queue", "delete", "--yes", "--all"],
            r#"POST /v1/queue/delete "all""#,
            APPLIED,
            "messages deleted: 2 of 3\n",
        ),
        (
            &["queue", "bounce", "06Q3ZV9WQ0K4D"],
            r#"POST /v1/queue/bounce {"matching":{"id":["06Q3ZV9WQ0K4D"]}}"#,
            APPLIED,
            "messages returned to their senders: 2 of 3\n",
        ),
        (
            &["queue", "hold", "--incoming", "--all"],
            r#"POST /v1/standing-rules {"hold":"all"}"#,
            CHANGED,
            "suspended: a.test\nheld on arrival: mail to b.test since 21 Nov 2026",
        ),
        (
            &[
                "queue",
                "release",
                "--incoming",
                "--domain",
                "b.test",
                "--json",
            ],
            r#"POST /v1/standing-rules {"release":{"matching":{"domain":"b.test"}}}"#,
            CHANGED,
            CHANGED,
        ),
        (
            &["suspend", "a.test"],
            r#"POST /v1/standing-rules {"suspend":"a.test"}"#,
            CHANGED,
            "suspended: a.test\n",
        ),
        (
            &["resume", "b.test"],
            r#"POST /v1/standing-rules {"resume":"b.test"}"#,
            CHANGED,
            "suspended: a.test\n",
        ),
        (
            &["orders"],
            "GET /v1/standing-rules ",
            r#"{"suspended":["a.test"],"hold_incoming":[]}"#,
            "suspended: a.test\n",
        ),
    ]);
}

#[test]
fn acl_and_route_send_their_requests() {
    sends_its_request(&[
        (
            &["acl", "allow", "2001:db8::1", "--for", "3h"],
            "PUT /v1/acl/2001:db8::1?seconds=10800 ",
            r#"{"address":"2001:db8::1","until":1795230600}"#,
            "2001:db8::1  until 21 Nov 2026 03:10:00 GMT (",
        ),
        (
            &["acl", "list"],
            "GET /v1/acl ",
            r#"[{"address":"192.0.2.1","until":1795230600}]"#,
            "192.0.2.1  until 21 Nov 2026 03:10:00 GMT (",
        ),
        (
            &["acl", "remove", "192.0.2.1"],
            "DELETE /v1/acl/192.0.2.1 ",
            "{}",
            "",
        ),
        (
            &["route", "a+b@a.test", "<>"],
            "GET /v1/route?from=a%2Bb%40a.test&to=%3C%3E ",
            r#"{"by":"MX of b.test","destination":"b.test","login":null,"hosts":[],"problem":null}"#,
            "decided by   MX of b.test\ndestination  b.test\n",
        ),
    ]);
}

#[test]
fn a_refusal_is_exit_1_and_a_failure_of_the_daemon_exit_2() {
    for (args, status, body, said, expected) in [
        (
            &["queue", "show", "06Q3ZV9WQ0K4D"][..],
            "404 Not Found",
            r#"{"error":"no message \u001b[2J06Q3ZV9WQ0K4D"}"#,
            "no message \\u{1b}[2J06Q3ZV9WQ0K4D",
            1,
        ),
        (
            &["audit"],
            "503 Service Unavailable",
            r#"{"error":"relayd is shutting down"}"#,
            "relayd is shutting down",
            2,
        ),
        (
            &["qstat"],
            "500 Internal Server Error",
            "oops",
            "the daemon answered 500 Internal Server Error",
            2,
        ),
        (&["qstat"], "200 OK", "{", "incomplete or invalid", 2),
        (
            &["reload"],
            "200 OK",
            r#"{"problems":["relayd.toml:3: bad\u009b"]}"#,
            "relayd.toml:3: bad\\u{9b}",
            1,
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("control.sock");
        let daemon = answer(&socket, status, body);
        let (code, _, err) = run(&socket, args);
        assert_eq!(code, expected, "{args:?}");
        assert!(err.starts_with("relayctl: ") && err.contains(said), "{err}");
        daemon.join().expect("no panic");
    }
}

#[test]
fn an_empty_list_is_exit_1_with_a_condition() {
    let empty = "[\n\n\n]\n";
    let summary =
        r#"{"ages_below":[],"total":{"name":"TOTAL","recipients":0,"ages":[0]},"destinations":[]}"#;
    for (args, body, expected, shown) in [
        (&["queue", "list"][..], empty, 0, ""),
        (&["queue", "list", "--all", "--json"], empty, 0, "[\n]\n"),
        (&["queue", "list", "--domain", "b.test"], empty, 1, ""),
        (&["queue", "list", "NOSUCHID", "--json"], empty, 1, "[\n]\n"),
        (&["queue", "summary"], summary, 0, "  "),
        (
            &["queue", "summary", "--domain", "b.test"],
            summary,
            1,
            "  ",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("control.sock");
        let daemon = answer(&socket, "200 OK", body);
        let (code, out, err) = run(&socket, args);
        assert_eq!(code, expected, "{args:?}: {err}");
        assert!(out.starts_with(shown), "{args:?}: {out}");
        assert_eq!(err.contains("matches"), code == 1, "{args:?}: {err}");
        daemon.join().expect("no panic");
    }
}

#[test]
fn books_that_do_not_balance_are_shown_and_exit_1() {
    let unbalanced = AUDIT
        .replace("true", "false")
        .replace("\"queued\":2", "\"queued\":1");
    for (args, shown) in [
        (&["audit"][..], "in the queue                       1\n"),
        (&["audit", "--json"], "\"balanced\":false}\n"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("control.sock");
        let daemon = answer(&socket, "200 OK", &unbalanced);
        let (code, out, err) = run(&socket, args);
        assert!(code == 1 && out.ends_with(shown), "{code} {out}");
        let said = "4 recipients came in, 3 are accounted for";
        assert!(err.contains(said), "{err}");
        daemon.join().expect("no panic");
    }
}

#[test]
fn an_incomplete_list_is_exit_2() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[\n\r\n";
        stream.write_all(head.as_bytes()).expect("the client reads");
    });
    let (code, _, err) = run(&socket, &["queue", "list"]);
    daemon.join().expect("no panic");
    assert_eq!(code, 2);
    assert!(err.contains("incomplete or invalid"), "{err}");
}

#[test]
fn without_a_daemon_it_names_the_socket_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    let stale = dir.path().join("stale.sock");
    drop(UnixListener::bind(&stale).expect("a socket"));
    for socket in [socket, stale] {
        let (code, out, err) = run(&socket, &["qstat"]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(
            err.contains(&socket.display().to_string()) && err.contains("start it"),
            "{err}"
        );
        assert_eq!(err.lines().count(), 1);
    }
}

#[test]
fn the_configuration_names_the_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let (socket, file) = (
        dir.path().join("control.sock"),
        dir.path().join("relayd.toml"),
    );
    let text = format!("[control]\nsocket = {socket:?}\n");
    std::fs::write(&file, text).expect("a file");
    let daemon = answer(&socket, "200 OK", STATUS);
    let mut command = Command::new(env!("CARGO_BIN_EXE_relayctl"));
    let output = command
        .arg("qstat")
        .arg("--config")
        .arg(&file)
        .output()
        .expect("relayctl runs");
    assert!(output.status.success());
    daemon.join().expect("no panic");
}

#[test]
fn wrong_usage_is_exit_2() {
    for args in [
        &["frob"][..],
        &[],
        &["queue"],
        &["queue", "show"],
        &["queue", "retry"],
        &["queue", "hold", "--incoming"],
        &["queue", "hold", "--incoming", "--state", "queued"],
        &["suspend"],
        &["queue", "delete", "--yes"],
        &["queue", "hold", "--all", "--domain", "a.test"],
        &["queue", "list", "--all", "--domain", "a.test"],
        &["queue", "retry", "--state", "dead"],
        &["queue", "retry", "--older-than", "soon"],
        &["acl", "allow", "everyone", "--for", "3h"],
        &["acl", "allow", "192.0.2.1"],
        &["acl", "allow", "192.0.2.1", "--for", "ever"],
        &["user", "add", "", "--password-stdin"],
        &[
            "user",
            "add",
            "app",
            "--password-stdin",
            "--sender",
            "example.org",
        ],
        &["--config", "/nowhere", "qstat"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relayctl"));
        let output = command.args(args).output().expect("relayctl runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    let list = format!("[\n{}{ENTRY}\n]\n", format!("{ENTRY},\n").repeat(10_000));
    let daemon = answer(&socket, "200 OK", &list);
    let mut child = relayctl(&socket, &["queue", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("relayctl runs");
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    reader.read_line(&mut first).expect("a line");
    drop(reader);
    let output = child.wait_with_output().expect("an end");
    assert!(first.starts_with("06Q3ZV9WQ0K4D"));
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    daemon.join().expect("no panic");
}
