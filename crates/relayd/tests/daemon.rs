//! Tests of the daemon itself: start and errors at the start, answers, reload and stop.

#![expect(
    clippy::disallowed_methods,
    reason = "a real process runs in real time"
)]

mod relay;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use relay::{Relay, Smtp, config, relayd, wait_for};

/// A smarthost that is always busy.
fn busy_smarthost() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut s| s.write_all(b"421 out of connection slots\r\n"));
        }
    });
    port
}

fn route_to(port: u16) -> String {
    format!("[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {port}\n")
}

/// Returns the exit code and standard error of a daemon that does not start.
fn refused(config: &std::path::Path) -> (Option<i32>, String) {
    let output = relayd(config).output().expect("relayd runs");
    let error = String::from_utf8(output.stderr).expect("text");
    (output.status.code(), error)
}

#[test]
fn a_failed_start_says_what_to_change_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("a-file"), "").expect("a file");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let (state, socket, file) = (path("state"), path("control.sock"), path("a-file"));
    for (state, address, socket, extra, said) in [
        (&file, "127.0.0.1:0", &socket, "", "state_dir"),
        (&state, &taken, &socket, "", "another server has this port"),
        (&state, "127.0.0.1:0", &file, "", "choose another path"),
        (
            &state,
            "127.0.0.1:0",
            &socket,
            "[queue]\nretry_units = \"1s\"\n",
            ":8: unknown key \"retry_units\" in [queue] (did you mean \"retry_unit\"?)",
        ),
        (
            &state,
            "127.0.0.1:0",
            &socket,
            "[queue]\nretry_unit = 1\n",
            ":8: queue.retry_unit: ",
        ),
    ] {
        let text = config(state, address, socket) + extra;
        let file = dir.path().join("relayd.toml");
        fs::write(&file, text).expect("a file");
        let (code, error) = refused(&file);
        assert_eq!(code, Some(2), "{error}");
        assert!(
            error.starts_with("relayd: ") && error.contains(said),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.contains("panicked"));
    }
}

#[test]
fn a_hostname_without_a_domain_causes_a_warning_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let text = config(&path("state"), "127.0.0.1:0", &path("control.sock"));
    let file = dir.path().join("relayd.toml");
    fs::write(&file, text.replace("relay.test", "relay")).expect("a file");
    let mut relay = relayd(&file)
        .stderr(Stdio::piped())
        .spawn()
        .expect("relayd runs");
    let mut lines = BufReader::new(relay.stderr.take().expect("a pipe")).lines();
    let warned = lines.by_ref().map_while(Result::ok).find(|line| {
        assert!(!line.contains("listening on"), "no warning before {line}");
        line.contains(" warn ")
    });
    let warned = warned.expect("a warning");
    assert!(warned.contains("event=hostname hostname=relay"), "{warned}");
    relay.kill().expect("a process");
    relay.wait().expect("an end");
}

#[test]
fn check_says_ok_or_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("relayd.toml");
    fs::write(&file, "hostname = \"relay.test\"\n").expect("a file");
    let output = relayd(&file).arg("--check").output().expect("relayd runs");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("relayd.toml: ok\n"));
    fs::write(&file, "hostname = 1\n").expect("a file");
    let output = relayd(&file).arg("--check").output().expect("relayd runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("relayd.toml:1: hostname: "));
}

#[test]
fn a_second_daemon_on_the_same_state_directory_is_refused_and_harms_nothing() {
    let relay = Relay::start("");
    let other = relay.path("other.toml");
    let text = config(
        &relay.path("state").display().to_string(),
        "127.0.0.1:0",
        &relay.path("other.sock").display().to_string(),
    );
    fs::write(&other, text).expect("a file");
    let (code, error) = refused(&other);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("in use") && error.contains("state"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
    assert!(!relay.path("other.sock").exists(), "nothing is left behind");
    assert_eq!(relay.get("/v1/status")["messages"], 0);
}

#[test]
fn the_start_says_which_sockets_are_open_and_where_the_state_is() {
    let mut relay = Relay::start("");
    let lines = relay.log();
    let state = relay.path("state").display().to_string();
    let port = format!("listening on 127.0.0.1:{} as mx", relay.port());
    for said in [
        port,
        state,
        relay.path("control.sock").display().to_string(),
    ] {
        assert!(
            lines.iter().any(|line| line.contains(&said)),
            "{said}: {lines:?}"
        );
    }
}

#[test]
fn systemd_is_notified_of_the_start_and_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify.sock");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    let deadline = Some(Duration::from_secs(20));
    systemd.set_read_timeout(deadline).expect("a socket");
    let mut relay = Relay::start_with("", |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let received = || {
        let mut text = [0; 100];
        let length = systemd.recv(&mut text).expect("a notice");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    assert!(received().contains("READY=1"));
    relay.signal(Signal::TERM);
    assert!(received().contains("STOPPING=1"));
    assert_eq!(relay.wait(), Some(0));
}

#[test]
fn sigterm_tells_idle_clients_and_ends_with_0_within_the_bound() {
    let mut relay = Relay::start("");
    let mut idle = Smtp::connect(relay.port());
    let asked = Instant::now();
    relay.signal(Signal::TERM);
    assert!(idle.line().starts_with("421 "));
    assert_eq!(relay.wait(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert!(!relay.path("control.sock").exists());
}

#[test]
fn the_queue_is_listed_shown_and_counted() {
    let relay = Relay::start(&route_to(busy_smarthost()));
    let ids: Vec<String> = (0..3)
        .map(|n| Smtp::connect(relay.port()).send(&format!("u{n}@dest.test")))
        .collect();
    // One delivery at a time tries a busy host. The others wait for their destination.
    wait_for(|| {
        let list = relay.get("/v1/queue");
        let recipients = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|e| &e["recipients"][0]);
        let is_waiting = |r: &Value| r["state"] != "in-flight" && r["next_attempt"].is_u64();
        recipients.clone().all(is_waiting) && recipients.clone().any(|r| r["state"] == "deferred")
    });
    let list = relay.get("/v1/queue");
    let listed: Vec<_> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| e["id"].as_str())
        .collect();
    assert_eq!(
        listed,
        ids.iter().map(|id| Some(id.as_str())).collect::<Vec<_>>()
    );
    let entry = &list[1];
    assert_eq!(
        (&entry["sender"], &entry["held"]),
        (&"app@sender.test".into(), &false.into())
    );
    assert!(entry["arrived"].as_u64() > Some(1_700_000_000) && entry["size"].as_u64() > Some(0));
    let recipient = &entry["recipients"][0];
    assert_eq!(recipient["address"], "u1@dest.test");
    assert!(recipient["next_attempt"].as_u64() > entry["arrived"].as_u64());

    let tried = list
        .as_array()
        .expect("a list")
        .iter()
        .find(|e| e["recipients"][0]["attempts"] == 1);
    let tried = tried.expect("one attempt was made");
    assert_eq!(tried["recipients"][0]["host"], "127.0.0.1");
    assert_eq!(
        tried["recipients"][0]["last_reply"],
        "421 out of connection slots"
    );
    let shown = relay.get(&format!(
        "/v1/queue/{}",
        tried["id"].as_str().expect("an id")
    ));
    assert_eq!(shown["origin"], "client");
    assert_eq!(shown["recipients"][0]["history"][0]["verdict"], "deferred");
    assert_eq!(
        shown["recipients"][0]["history"][0]["reply"],
        "421 out of connection slots"
    );

    let status = relay.get("/v1/status");
    assert_eq!(status["messages"], 3);
    let counts = &status["states"];
    let sum: u64 = ["queued", "deferred", "in-flight"]
        .iter()
        .filter_map(|s| counts[s].as_u64())
        .sum();
    assert_eq!(sum, 3, "each message is in one state");
    assert_eq!(status["destinations"][0]["waiting"], 3);
    let (code, problem) = relay.ask("GET", "/v1/queue/0000000000000");
    assert_eq!(code, 404);
    assert!(
        problem["error"]
            .as_str()
            .is_some_and(|e| e.contains("0000000000000"))
    );
    assert_eq!(relay.ask("GET", "/v1/unknown").0, 404);
}

#[test]
fn the_list_has_an_entry_on_each_line_and_may_be_empty() {
    let relay = Relay::start(&route_to(busy_smarthost()));
    assert_eq!(relay.text("GET", "/v1/queue").1, "[\n]\n");
    for n in 0..2 {
        Smtp::connect(relay.port()).send(&format!("u{n}@dest.test"));
    }
    let text = relay.text("GET", "/v1/queue").1;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[3]), (4, "[", "]"));
    assert!(
        lines[1].ends_with("},") && lines[2].ends_with('}'),
        "{text}"
    );
}

#[test]
fn a_bad_file_changes_nothing_and_a_good_one_applies() {
    let mut relay = Relay::start("");
    let good = fs::read_to_string(relay.path("relayd.toml")).expect("the file");
    let mail = |relay: &Relay| {
        let mut smtp = Smtp::connect(relay.port());
        smtp.say("EHLO client.test");
        smtp.say("MAIL FROM:<spammer@spam.test>")
    };
    let bad = format!("{good}[relay]\nbad_senders = [\"@spam.test\"]\nnetwork = []\n");
    fs::write(relay.path("relayd.toml"), bad).expect("a file");
    relay.signal(Signal::HUP);
    let line = relay.wait_for_line("reload: ");
    assert!(
        line.contains("relayd.toml:9: unknown key") && line.contains("network"),
        "{line}"
    );
    assert!(mail(&relay).starts_with("250 "));

    let better = format!("{good}[relay]\nbad_senders = [\"@spam.test\"]\n");
    fs::write(relay.path("relayd.toml"), better).expect("a file");
    relay.signal(Signal::HUP);
    relay.wait_for_line("was read again");
    assert!(mail(&relay).starts_with('5'));

    let moved = good.replace("control.sock", "elsewhere.sock");
    fs::write(relay.path("relayd.toml"), moved).expect("a file");
    let (code, answer) = relay.ask("POST", "/v1/reload");
    assert_eq!(code, 200);
    assert_eq!(
        answer["problems"][0],
        "control.socket has changed, which takes a restart"
    );
    assert!(mail(&relay).starts_with("250 "), "the rest of it applies");
}

#[test]
fn every_line_of_a_json_log_is_an_object() {
    let mut relay = Relay::start("[log]\nformat = \"json\"\n");
    let mut smtp = Smtp::connect(relay.port());
    smtp.say("EHLO client.test");
    smtp.say("MAIL FROM:<\u{1b}[31m\"x");
    smtp.say("MAIL FROM:<a@b.test> X=1");
    relay.signal(Signal::TERM);
    assert_eq!(relay.wait(), Some(0));
    let lines = relay.log();
    assert!(lines.len() > 4);
    for line in &lines {
        let line: Value = serde_json::from_str(line).expect(line);
        for key in ["time", "level", "message", "event"] {
            assert!(line[key].is_string(), "{line}");
        }
    }
}

#[test]
fn an_invalid_request_is_refused_with_the_reason() {
    let relay = Relay::start("");
    for (method, path, code, said) in [
        (
            "PUT",
            "/v1/acl/192.0.2.1?seconds=0",
            400,
            "a second at least",
        ),
        (
            "PUT",
            "/v1/acl/192.0.2.1?seconds=99999999999",
            400,
            "a year at most",
        ),
        (
            "PUT",
            "/v1/acl/192.0.2.1?seconds=-1",
            400,
            "not an address and a time",
        ),
        ("PUT", "/v1/acl/192.0.2.1", 400, "not an address and a time"),
        (
            "PUT",
            "/v1/acl/everyone?seconds=1",
            400,
            "not an address and a time",
        ),
        ("DELETE", "/v1/acl/everyone", 400, "not an address"),
        (
            "DELETE",
            "/v1/acl/192.0.2.1",
            404,
            "192.0.2.1 has no temporary permission",
        ),
        (
            "GET",
            "/v1/route?from=a@b.test",
            400,
            "from and to are needed",
        ),
        (
            "GET",
            "/v1/route?from=a&to=c@d.test",
            400,
            "the sender, \"a\": ",
        ),
        (
            "GET",
            "/v1/route?from=&to=nobody",
            400,
            "the recipient, \"nobody\": ",
        ),
    ] {
        let (answered, problem) = relay.ask(method, path);
        let reason = problem["error"].as_str().unwrap_or_default();
        assert_eq!(answered, code, "{method} {path}: {reason}");
        assert!(reason.contains(said), "{method} {path}: {reason}");
    }
    assert_eq!(relay.get("/v1/acl"), Value::Array(Vec::new()));
}

#[test]
fn a_named_file_that_cannot_be_used_stops_the_start_with_its_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("empty"), "").expect("a file");
    fs::write(path("users"), "app\n").expect("a file");
    let (empty, gone) = (path("empty"), path("gone"));
    let route = "[[route]]\ndomain = \"*\"\nhost = [\"h\"]\nusername = \"u\"\n";
    for (text, said) in [
        (
            format!("[tls]\ncertificate = {gone:?}\nkey = {empty:?}\n"),
            format!("relayd.toml:8: tls.certificate: {gone} cannot be read: "),
        ),
        (
            format!("[tls]\ncertificate = {empty:?}\nkey = {empty:?}\n"),
            format!("relayd.toml:8: tls.certificate: {empty} holds no certificate"),
        ),
        (
            format!("[auth]\nusers = {:?}\n", path("users")),
            format!("relayd.toml:8: auth.users: {}:1: ", path("users")),
        ),
        (
            format!("[delivery]\nca_file = {empty:?}\n"),
            format!("relayd.toml:8: delivery.ca_file: {empty} holds no certificate"),
        ),
        (
            format!("{route}password_file = {gone:?}\n"),
            format!("relayd.toml:11: route.password_file: {gone} cannot be read: "),
        ),
    ] {
        let text = config(&path("state"), "127.0.0.1:0", &path("control.sock")) + &text;
        let file = dir.path().join("relayd.toml");
        fs::write(&file, text).expect("a file");
        for check in [&[][..], &["--check"]] {
            let output = relayd(&file).args(check).output().expect("relayd runs");
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(
                error.contains(&said) && error.lines().count() == 1,
                "{said}: {error}"
            );
        }
    }
}

#[test]
fn the_demo_shows_the_path_of_a_message_and_keeps_running() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_relayd"))
        .arg("demo")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("relayd runs");
    let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
    let mut next = |said: &str| loop {
        let line = lines.next().expect(said).expect("text");
        if line.contains(said) {
            return line;
        }
    };
    let port = next("the relay listens on")
        .rsplit(':')
        .next()
        .and_then(|p| p.parse().ok());
    next("queued as ");
    next("messages in queue: 1");
    next("| Received: from relay.example.org");
    next("with ESMTPS id ");
    next("| DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org;");
    next("| Received: from app.example.org");
    next("swaks --server 127.0.0.1:");
    next("--tls --auth-user demo ");
    Smtp::connect(port.expect("a port")).send("you@example.net");
    next("A message arrives");
    next("from <app@sender.test>");
    kill_process(Pid::from_child(&demo), Signal::INT).expect("a process");
    assert_eq!(demo.wait().expect("an end").code(), Some(0));
    let mut errors = String::new();
    demo.stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut errors)
        .expect("text");
    assert_eq!(errors, "");
    assert!(
        TcpStream::connect(("127.0.0.1", port.expect("a port"))).is_err(),
        "it is gone"
    );
}
