//! The events of messages while they happen.

use std::io::{BufRead, BufReader};
use std::process::ChildStdout;
use std::sync::mpsc;
use std::thread;

use relay_testkit::FakeMx;
use relay_tests::{DEADLINE, Relay};
use serde_json::Value;

const MESSAGE: &[u8] = b"Subject: t\r\n\r\nhello\r\n";

fn smarthost(mx: &FakeMx) -> String {
    let port = mx.address().port();
    format!("[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {port}\ntls = \"none\"\n")
}

fn next(events: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    events.read_line(&mut line).expect("text");
    serde_json::from_str(&line).expect("an event")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_followed_until_it_leaves() {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "450 4.2.0 later");
    let relay = Relay::start(&smarthost(&mx));
    let id = relay.send("a@sender.test", &["u@a.test"], MESSAGE).await;
    mx.wait_for_command("RCPT").await;
    let mut trace = relay.ctl_running(&["--json", "trace", &id]);
    let mut events = BufReader::new(trace.stdout.take().expect("a pipe"));
    let mut event = next(&mut events);
    while event["event"] != "delivery" {
        event = next(&mut events);
    }
    assert_eq!(
        (&event["id"], &event["status"]),
        (&id.as_str().into(), &"deferral".into())
    );
    // Events of other messages are not shown.
    relay.send("a@sender.test", &["v@a.test"], MESSAGE).await;
    mx.behave();
    let mut last = event;
    for line in events.lines() {
        last = serde_json::from_str(&line.expect("text")).expect("an event");
        assert_eq!(last["id"], id, "{last}");
    }
    assert_eq!(last["event"], "end msg");
    assert!(trace.wait().expect("an end").success());
    let gone = relay.ctl(&["trace", &id]);
    assert_eq!(gone.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mail_to_a_domain_is_followed_from_its_acceptance() {
    let mx = FakeMx::start().await;
    let relay = Relay::start(&smarthost(&mx));
    let mut trace = relay.ctl_running(&["--json", "trace", "--domain", "a.test"]);
    let events = BufReader::new(trace.stdout.take().expect("a pipe"));
    let (told, seen) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in events.lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).expect("an event");
            told.send(event).expect("the test waits");
        }
    });
    // Following begins with one of these messages. The last message is sent after that.
    let mut followed = Vec::new();
    let mut events = Vec::new();
    while followed.len() < 20 || events.is_empty() {
        assert!(followed.len() < 1000, "nothing is followed");
        for to in ["u@b.test", "u@a.test"] {
            let id = relay.send("a@sender.test", &[to], MESSAGE).await;
            followed.extend((to == "u@a.test").then_some(id));
        }
        events.extend(seen.try_iter());
    }
    let last = relay.send("a@sender.test", &["u@A.test"], MESSAGE).await;
    let mut of_last = Vec::new();
    while of_last.last().is_none_or(|name| name != "end msg") {
        let event = seen.recv_timeout(DEADLINE).expect("an event in time");
        if event["id"] == last.as_str() {
            of_last.push(event["event"].clone());
        }
        events.push(event);
    }
    let names = [
        "new msg",
        "info msg",
        "starting delivery",
        "delivery",
        "end msg",
    ];
    for name in names {
        assert!(
            of_last.iter().any(|seen| seen == name),
            "{name}: {of_last:?}"
        );
    }
    let followed: Vec<_> = followed.iter().chain([&last]).collect();
    assert!(
        events
            .iter()
            .all(|event| followed.iter().any(|id| event["id"] == **id)),
        "{events:?}"
    );
    trace.kill().expect("killed");
    trace.wait().expect("an end");
    reader.join().expect("no panic");
}
