//! Moving a queue to another relay.

use std::fs;
use std::process::Output;

use relay_testkit::FakeMx;
use relay_tests::Relay;
use serde_json::Value;

fn smarthost(mx: &FakeMx) -> String {
    let port = mx.address().port();
    format!("[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {port}\ntls = \"none\"\n")
}

/// The exit code, standard output and standard error.
fn said(output: Output) -> (i32, String, String) {
    let text = |octets| String::from_utf8(octets).expect("text");
    let code = output.status.code().expect("an end of its own");
    (code, text(output.stdout), text(output.stderr))
}

fn listed(relay: &Relay) -> Vec<Value> {
    serde_json::from_str(&relay.done(&["--json", "queue", "list"])).expect("a list")
}

#[tokio::test]
async fn moved_mail_continues_unchanged_and_a_truncated_stream_is_reported() {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "450 4.7.1 greylisted");
    let route = smarthost(&mx);
    let mut from = Relay::start(&route);
    let mut ids = Vec::new();
    for n in 0..4_usize {
        let body = format!(
            "Subject: {n}\r\n\r\n{}",
            "a line of it\r\n".repeat(1 + n * 12_000)
        );
        let to = format!("u{n}@dest.test");
        ids.push(from.send("a@sender.test", &[&to], body.as_bytes()).await);
    }
    from.wait_until("attempt on each", || {
        listed(&from)
            .iter()
            .all(|m| m["recipients"][0]["attempts"] != 0)
    })
    .await;
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
        out.starts_with("messages imported: 3, refused: 0\n"),
        "{out}"
    );
    assert!(
        out.contains("the stream is incomplete: it breaks off"),
        "{out}"
    );
    assert_eq!(
        said(to.relayd(&["fsck"])).1,
        "sound messages: 3, findings: 0; nothing is wrong\n"
    );
    let (code, out, _) = import(&whole);
    assert_eq!(code, 1);
    assert!(out.ends_with("messages imported: 1, refused: 3\n"), "{out}");
    assert!(
        out.contains(" was refused: it is in the queue already\n"),
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
            "a line of it\r\n".repeat(1 + n * 12_000)
        );
        let arrived = delivered.iter().filter(|m| {
            m.data.ends_with(body.as_bytes()) && String::from_utf8_lossy(&m.data).contains(id)
        });
        assert!(arrived.count() >= 1, "{id}");
    }
    assert!(to.done(&["audit"]).ends_with("the books balance\n"));
}

/// Mail that arrives while a running relay is exported would be lost when its queue is emptied.
#[tokio::test]
async fn a_queue_is_moved_unchanged_from_a_stopped_relay() {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "450 4.7.1 greylisted");
    let route = smarthost(&mx);
    let mut from = Relay::start(&route);
    let large = format!("Subject: l\r\n\r\n{}", "a line of it\r\n".repeat(12_000));
    for (to, body) in [
        ("held@dest.test", "Subject: s\r\n\r\nx\r\n"),
        ("u@dest.test", &large),
    ] {
        from.send("a@sender.test", &[to], body.as_bytes()).await;
    }
    from.done(&["queue", "hold", "--recipient", "held@dest.test"]);
    let (code, out, err) = said(from.relayd(&["export"]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("locked"), "{err}");
    from.kill();

    let exported = from.relayd(&["export"]);
    assert!(exported.status.success());
    assert_eq!(exported.stderr, b"messages exported: 2\n");
    let mut to = Relay::prepare(&route);
    fs::write(to.path("queue"), &exported.stdout).expect("written");
    let (code, out, _) = said(to.relayd(&["import", &to.path("queue").display().to_string()]));
    assert_eq!(
        (code, out.as_str()),
        (0, "messages imported: 2, refused: 0\n")
    );
    mx.behave();
    to.restart();
    mx.wait_for_messages(1).await;
    to.wait_until("one left", || to.queued() == 1).await;
    let left = listed(&to);
    assert_eq!(left[0]["recipients"][0]["address"], "held@dest.test");
    assert_eq!(left[0]["held"], true);
}

#[tokio::test]
async fn an_export_that_leaves_out_damaged_messages_is_not_a_success() {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "450 4.7.1 greylisted");
    let mut relay = Relay::start(&smarthost(&mx));
    let large = format!("Subject: l\r\n\r\n{}", "a line of it\r\n".repeat(12_000));
    for body in [large.as_str(), "Subject: s\r\n\r\nx\r\n"] {
        relay
            .send("a@sender.test", &["u@dest.test"], body.as_bytes())
            .await;
    }
    relay.kill();
    let bodies = fs::read_dir(relay.path("state/mess")).expect("a folder");
    for body in bodies {
        let body = body.expect("an entry").path();
        let length = fs::read(&body).expect("read").len();
        fs::write(body, vec![b'x'; length]).expect("written");
    }
    let exported = relay.relayd(&["export"]);
    let said = String::from_utf8_lossy(&exported.stderr);
    assert_eq!(exported.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("messages exported: 1; damaged and set aside: 1 (in "),
        "{said}"
    );
    assert!(exported.stdout.ends_with(b"end 1 1\n"));
}

#[test]
fn a_file_that_is_not_a_queue_stream_is_rejected() {
    let relay = Relay::prepare("");
    relay.write("mail", "From: a@b.test\n\nhello\n");
    let file = relay.path("mail").display().to_string();
    let (code, out, _) = said(relay.relayd(&["import", &file]));
    assert_eq!(code, 1);
    assert!(out.contains("not a queue stream"), "{out}");
    let (code, _, err) = said(relay.relayd(&["import", "/nowhere/at/all"]));
    assert!(code == 2 && err.contains("/nowhere/at/all"), "{err}");
}
