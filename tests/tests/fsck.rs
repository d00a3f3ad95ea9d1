//! `relayd fsck` on the queue of a stopped relay.

use std::fs;
use std::process::Output;

use relay_testkit::FakeMx;
use relay_tests::Relay;

/// The exit code, standard output and standard error.
fn said(output: Output) -> (i32, String, String) {
    let text = |octets| String::from_utf8(octets).expect("text");
    let code = output.status.code().expect("an end of its own");
    (code, text(output.stdout), text(output.stderr))
}

fn smarthost(mx: &FakeMx) -> String {
    let port = mx.address().port();
    format!("[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {port}\ntls = \"none\"\n")
}

#[tokio::test]
async fn a_damaged_message_is_found_and_moved_away_and_the_rest_is_delivered() {
    let mx = FakeMx::start().await;
    mx.on("connect", "421 not now");
    let mut relay = Relay::start(&smarthost(&mx));
    let large = format!("Subject: t\r\n\r\n{}", "a line of it\r\n".repeat(12_000));
    let mut ids = Vec::new();
    for n in 0..3 {
        let to = format!("u{n}@dest.test");
        ids.push(relay.send("a@sender.test", &[&to], large.as_bytes()).await);
    }

    let (code, out, err) = said(relay.relayd(&["fsck"]));
    assert_eq!((code, out.as_str()), (2, ""), "it runs");
    assert!(err.contains("locked"), "{err}");

    relay.kill();
    let (code, out, err) = said(relay.relayd(&["fsck"]));
    let nothing = "sound messages: 3, findings: 0; nothing is wrong\n";
    assert_eq!((code, out.as_str(), err.as_str()), (0, nothing, ""));

    let body = relay.path("state/mess").join(&ids[1]);
    let mut octets = fs::read(&body).expect("a body");
    octets[20_000] ^= 1;
    fs::write(&body, octets).expect("written");
    for arguments in [&["fsck"][..], &["fsck"], &["fsck", "--repair"]] {
        let (code, out, err) = said(relay.relayd(arguments));
        assert_eq!((code, err.as_str()), (1, ""));
        let finding = format!("message {}: its content does not have the checksum", ids[1]);
        assert!(out.starts_with(&finding), "{out}");
        assert!(out.contains("sound messages: 2, findings: 1; "), "{out}");
    }
    assert_eq!(said(relay.relayd(&["fsck"])).0, 0, "it is mended");
    let kept = relay.path("state/corrupt").join(format!("{}.body", ids[1]));
    assert!(kept.exists());

    mx.behave();
    relay.restart();
    mx.wait_for_messages(2).await;
    relay.wait_until_empty().await;
    assert!(relay.done(&["audit"]).ends_with("the books balance\n"));
}

#[test]
fn a_directory_without_a_queue_cannot_be_checked() {
    let relay = Relay::prepare("");
    let (code, out, err) = said(relay.relayd(&["fsck", "--repair"]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("relayd: state_dir "), "{err}");
    assert!(!relay.path("state").exists());
}
