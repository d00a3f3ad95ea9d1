//! Every accepted recipient is accounted for.

use relay_testkit::FakeMx;
use relay_tests::Relay;
use serde_json::Value;

const MESSAGE: &[u8] = b"Subject: t\r\n\r\nhello\r\n";

fn smarthost(mx: &FakeMx) -> String {
    let address = mx.address();
    format!(
        "[[route]]\ndomain = \"*\"\nhost = [\"{}\"]\nport = {}\ntls = \"none\"\n",
        address.ip(),
        address.port()
    )
}

fn json(relay: &Relay, arguments: &[&str]) -> Value {
    serde_json::from_str(&relay.done(arguments)).expect("JSON")
}

#[tokio::test]
async fn the_books_balance_with_mail_delivered_bounced_deferred_and_after_a_kill() {
    let mx = FakeMx::start().await;
    mx.on("rcpt gone@dest.test", "550 5.1.1 no such user");
    mx.on("rcpt later@dest.test", "450 4.2.0 later");
    let mut relay = Relay::start(&smarthost(&mx));
    for to in [&["u@dest.test", "later@dest.test"][..], &["gone@dest.test"]] {
        relay.send("app@sender.test", to, MESSAGE).await;
    }
    let counted = |books: &Value, name: &str| books[name].as_u64().expect("a number");
    relay
        .wait_until("report", || {
            let books = json(&relay, &["--json", "audit"]);
            counted(&books, "delivered") == 2 && counted(&books, "queued") == 1
        })
        .await;
    for _ in 0..2 {
        let books = json(&relay, &["--json", "audit"]);
        let expected = [
            ("accepted", 3),
            ("reports", 1),
            ("delivered", 2),
            ("bounced", 1),
            ("discarded", 0),
            ("set_aside", 0),
            ("queued", 1),
        ];
        for (name, count) in expected {
            assert_eq!(counted(&books, name), count, "{name}: {books}");
        }
        assert_eq!(books["balanced"], true);
        let status = json(&relay, &["--json", "qstat"]);
        assert_eq!(counted(&status["books"], "accepted"), 3, "{status}");
        relay.kill();
        relay.restart();
    }
    assert!(relay.done(&["audit"]).ends_with("the books balance\n"));
}
