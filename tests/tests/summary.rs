//! Waiting mail, counted by destination and age.

use relay_testkit::FakeMx;
use relay_tests::Relay;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[tokio::test]
async fn recipients_are_counted_at_their_destination_and_only_while_they_wait() {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "450 4.2.0 later");
    mx.on("rcpt now@a.test", "250 ok");
    let port = mx.address().port();
    let relay = Relay::start(&format!(
        "[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {port}\ntls = \"none\"\n"
    ));
    let body = b"Subject: t\r\n\r\nhello\r\n";
    let to = ["u@a.test", "now@a.test", "v@b.test"];
    relay.send("a@sender.test", &to, body).await;
    relay.send("b@sender.test", &["w@b.test"], body).await;
    let summary = |arguments: &[&str]| -> Value {
        let arguments = [&["--json", "queue", "summary"], arguments].concat();
        serde_json::from_str(&relay.done(&arguments)).expect("JSON")
    };
    let delivered = || summary(&[])["total"]["recipients"] == 3;
    relay.wait_until("delivery", delivered).await;
    let all = summary(&[]);
    assert_eq!(all["total"]["ages"][0], 3, "{all}");
    assert_eq!(all["ages_below"][8], 76_800);
    let destinations = all["destinations"].as_array().expect("rows");
    assert_eq!(destinations.len(), 1, "all wait for the smarthost: {all}");
    let some = summary(&["--sender", "b@sender.test"]);
    assert_eq!(some["total"]["recipients"], 1, "{some}");
    let text = relay.done(&["queue", "summary"]);
    let total = text.lines().nth(1).expect("a total");
    assert_eq!(total.split_whitespace().nth(1), Some("3"), "{text}");
}

/// Otherwise a client that searches a large queue on a slow disk would assume that the daemon
/// hangs.
#[tokio::test]
async fn a_long_search_without_a_result_shows_that_it_continues() {
    let relay = Relay::start("");
    relay.done(&["suspend", "dest.test"]);
    let mut client = relay.connect().await;
    // More messages than one read of the store returns.
    for _ in 0..501 {
        let sent = client
            .send("a@sender.test", &["u@dest.test"], b"\r\n")
            .await;
        sent.expect("a 250");
    }
    let mut control = UnixStream::connect(relay.path("control.sock"))
        .await
        .expect("it listens");
    let request =
        "GET /v1/queue?domain=other.test HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n";
    control.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    control.read_to_string(&mut answer).await.expect("text");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(body.starts_with("1\r\n[\r\n1\r\n\n\r\n"), "{body:?}");
}
