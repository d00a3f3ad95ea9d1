//! A queue that is moved to another relay.

use std::fs;
use std::process::Output;

use relay_testkit::FakeMx;
use relay_tests::Relay;
use serde_json::Value;

fn smarthost(mx: &FakeMx) -> String {
    let port = mx.address().port();
    format!("[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {port}\ntls = \"none\"\n")
}

/// Code, standard output and standard error.
fn said(output: Output) -> (i32, String, String) {
    let text = |octets| String::from_utf8(octets).expect("text");
    let code = output.status.code().expect("an end of its own");
    (code, text(output.stdout), text(output.stderr))
}

fn listed(relay: &Relay) -> Vec<Value> {
    serde_json::from_str(&relay.done(&["--json", "queue", "list"])).expect("a list")
}

#[tokio::test]
async fn mail_goes_on_elsewhere_as_it_was_and_a_torn_stream_says_so() {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "450 4.7.1 greylisted");
    let route = smarthost(&mx);
    let mut from = Relay::start(&route);
    let mut ids = Vec::new();
    for n in 0..4_usize {
        let body = format!(
            "Subject: {n}\r\n\r\n{}",
            "a line of it\r\n".repeat(1 + n * 2000)
        );
        let to = format!("u{n}@dest.test");
        ids.push(from.send("a@sender.test", &[&to], body.as_bytes()).await);
    }
    let is_tried = || {
        listed(&from)
            .iter()
            .all(|m| m["recipients"][0]["attempts"] != 0)
    };
    from.wait_until("attempt on each", is_tried).await;
    let exported = from.ctl(&["queue", "export"]);
    assert!(exported.status.success());
    assert_eq!(exported.stderr, b"messages exported: 4\n");
    let whole = from.path("queue");
    let torn = from.path("torn");
    fs::write(&whole, &exported.stdout).expect("written");
    fs::write(&torn, &exported.stdout[..exported.stdout.len() - 500]).expect("written");

    let mut to = Relay::prepare(&route);
    let import = |file: &std::path::Path| {
        let file = file.display().to_string();
        said(to.relayd(&["import", &file]))
    };
    let (code, out, err) = import(&torn);
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(
        out.starts_with("messages taken in: 3, not taken in: 0\n"),
        "{out}"
    );
    assert!(
        out.contains("the stream is not whole: it breaks off"),
        "{out}"
    );
    assert_eq!(
        said(to.relayd(&["fsck"])).1,
        "sound messages: 3, findings: 0; nothing is wrong\n"
    );
    let (code, out, _) = import(&whole);
    assert_eq!(code, 1);
    assert!(
        out.ends_with("messages taken in: 1, not taken in: 3\n"),
        "{out}"
    );
    assert!(
        out.contains(" was not taken in: it is in the queue already\n"),
        "{out}"
    );

    from.kill();
    mx.behave();
    to.restart();
    let (code, _, err) = said(to.relayd(&["import", &whole.display().to_string()]));
    assert!(code == 2 && err.contains("locked"), "{code} {err}");
    let delivered = mx.wait_for_messages(4).await;
    to.wait_until_empty().await;
    for (n, id) in ids.iter().enumerate() {
        let body = format!(
            "Subject: {n}\r\n\r\n{}",
            "a line of it\r\n".repeat(1 + n * 2000)
        );
        let arrived = delivered.iter().filter(|m| {
            m.data.ends_with(body.as_bytes()) && String::from_utf8_lossy(&m.data).contains(id)
        });
        assert!(arrived.count() >= 1, "{id}");
    }
    assert!(to.done(&["audit"]).ends_with("the books balance\n"));
}

#[test]
fn what_is_no_stream_is_refused() {
    let relay = Relay::prepare("");
    relay.write("mail", "From: a@b.test\n\nhello\n");
    let file = relay.path("mail").display().to_string();
    let (code, out, _) = said(relay.relayd(&["import", &file]));
    assert_eq!(code, 1);
    assert!(out.contains("no stream of a queue"), "{out}");
    let (code, _, err) = said(relay.relayd(&["import", "/nowhere/at/all"]));
    assert!(code == 2 && err.contains("/nowhere/at/all"), "{err}");
}
