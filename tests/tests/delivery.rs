//! The way of a message through the real programs.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use relay_testkit::{FakeDns, FakeMx};
use relay_tests::Relay;
use tokio::task::JoinSet;

const MESSAGE: &[u8] = b"From: a@sender.test\r\nSubject: t\r\n\r\nhello\r\n.dot\r\n..\r\nend\r\n";

fn smarthost(mx: &FakeMx) -> String {
    format!(
        "[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {}\ntls = \"none\"\n",
        mx.address().port()
    )
}

/// Starts a relay that finds dest.test at 127.0.0.2 and sender.test at 127.0.0.3 by MX.
async fn world() -> (FakeMx, FakeMx, FakeDns, Relay) {
    let ip = |n| IpAddr::from(Ipv4Addr::new(127, 0, 0, n));
    let [dest, sender] = FakeMx::start_on([ip(2), ip(3)]).await;
    let dns = FakeDns::start().await;
    dns.set("dest.test", "MX", &["10 mx.dest.test"]);
    dns.set("mx.dest.test", "A", &["127.0.0.2"]);
    dns.set("sender.test", "MX", &["10 mx.sender.test"]);
    dns.set("mx.sender.test", "A", &["127.0.0.3"]);
    let relay = Relay::start(&format!(
        "[delivery]\nport = {}\nrefuse_addresses = []\n[dns]\nservers = [\"{}\"]\n",
        dest.address().port(),
        dns.address()
    ));
    (dest, sender, dns, relay)
}

#[tokio::test]
async fn a_message_is_delivered_unchanged_after_the_trace_header() {
    let mx = FakeMx::start().await;
    let relay = Relay::start(&smarthost(&mx));
    let big = [MESSAGE, &b"0123456789abcdef\r\n".repeat(20_000)].concat();
    for message in [MESSAGE, &big] {
        let before = mx.messages().len();
        let id = relay.send("a@sender.test", &["u@dest.test"], message).await;
        let arrived = mx
            .wait_for_messages(before + 1)
            .await
            .pop()
            .expect("a message");
        let head = arrived
            .data
            .strip_suffix(message)
            .expect("the message, unchanged");
        let head = std::str::from_utf8(head).expect("text");
        assert!(
            head.starts_with("Received: from client.test ([127.0.0.1])"),
            "{head}"
        );
        assert!(
            head.contains(&format!("by relay.test with ESMTP id {id};")),
            "{head}"
        );
        assert!(
            arrived.mail.starts_with("<a@sender.test>"),
            "{}",
            arrived.mail
        );
        assert_eq!(arrived.recipients, ["<u@dest.test>"]);
    }
    relay.wait_until_empty().await;
    assert_eq!(relay.body_files(), 0);
}

#[tokio::test]
async fn a_line_longer_than_the_smtp_limit_is_sent_unbroken() {
    let mx = FakeMx::start().await;
    let relay = Relay::start(&smarthost(&mx));
    let line = "x".repeat(60_000);
    let message = format!("Subject: t\r\n\r\n{line}\r\n.{line}\r\n").into_bytes();
    relay
        .send("a@sender.test", &["u@dest.test"], &message)
        .await;
    let arrived = mx.wait_for_messages(1).await.pop().expect("a message");
    assert!(arrived.data.ends_with(&message));
}

#[tokio::test]
async fn a_text_without_a_header_gets_an_empty_line_before_it() {
    let mx = FakeMx::start().await;
    let relay = Relay::start(&smarthost(&mx));
    for (n, text) in (1..).zip([&b" forged-folding by=evil\r\n"[..], b"hello world\r\n"]) {
        relay.send("a@sender.test", &["u@dest.test"], text).await;
        let arrived = mx.wait_for_messages(n).await.pop().expect("a message");
        let head = arrived
            .data
            .strip_suffix(text)
            .expect("the text, unchanged");
        let head = std::str::from_utf8(head).expect("text");
        assert!(head.starts_with("Received: from"), "{head}");
        assert!(head.ends_with(" +0000\r\n\r\n"), "{head}");
    }
    relay.wait_until_empty().await;
}

#[tokio::test]
async fn mail_goes_to_the_mx_of_its_domain_and_a_refusal_is_reported_to_the_sender() {
    let (dest, sender, _dns, relay) = world().await;
    dest.on("rcpt gone@dest.test", "550 5.1.1 no such user");
    let to = ["u@dest.test", "gone@dest.test"];
    relay.send("app@sender.test", &to, MESSAGE).await;
    let delivered = dest.wait_for_messages(1).await;
    assert_eq!(delivered[0].recipients, ["<u@dest.test>"]);
    let bounce = sender.wait_for_messages(1).await.pop().expect("a bounce");
    let text = String::from_utf8_lossy(&bounce.data).into_owned();
    assert!(bounce.mail.starts_with("<>"), "{}", bounce.mail);
    for part in [
        "Content-Type: multipart/report; report-type=delivery-status;",
        "Final-Recipient: rfc822; gone@dest.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "Subject: t\r\n",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    relay.wait_until_empty().await;
    assert_eq!((dest.messages().len(), sender.messages().len()), (1, 1));
}

/// The header is larger than the database stores itself, so the report is a file without a head.
#[tokio::test]
async fn the_report_for_a_message_with_a_large_header_arrives_complete() {
    let (dest, sender, _dns, relay) = world().await;
    dest.on("rcpt", "550 5.1.1 no such user");
    let field = |n| format!("X-Field-{n:04}: {}\r\n", "v".repeat(60));
    let header: String = (0..300).map(field).collect();
    assert!(header.len() > 20_000);
    let message = format!("Subject: t\r\n{header}\r\nhello\r\n");
    let to = ["gone@dest.test"];
    let id = relay.send("app@sender.test", &to, message.as_bytes()).await;
    let report = sender.wait_for_messages(1).await.pop().expect("a report");
    let text = String::from_utf8_lossy(&report.data).into_owned();
    assert!(text.len() > 12_000, "{} octets", text.len());
    for part in [
        "Final-Recipient: rfc822; gone@dest.test\r\n",
        "Subject: t\r\n",
        &*field(0),
        &*field(150),
        &*id,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let (_, boundary) = text.split_once("boundary=\"").expect("a boundary");
    let (boundary, _) = boundary.split_once('"').expect("the end of the boundary");
    assert!(text.ends_with(&format!("\r\n--{boundary}--\r\n")), "{text}");
    relay.wait_until_empty().await;
    assert_eq!(relay.body_files(), 0);
}

#[tokio::test]
async fn a_deferred_message_shows_its_reason_and_is_delivered_later() {
    let (dest, _sender, _dns, relay) = world().await;
    dest.on_each(
        "rcpt",
        [
            "450 4.7.1 greylisted, come back",
            "450 4.7.1 greylisted",
            "250 ok",
        ],
    );
    let id = relay
        .send("app@sender.test", &["u@dest.test"], MESSAGE)
        .await;
    dest.wait_for_command("RCPT").await;
    let why = async {
        loop {
            let shown = relay.ctl(&["queue", "show", &id]);
            let text = String::from_utf8(shown.stdout).expect("text");
            if text.contains("450 4.7.1 greylisted") || !shown.status.success() {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let text = tokio::time::timeout(relay_tests::DEADLINE, why)
        .await
        .expect("a reason");
    assert!(
        text.contains("mx.dest.test") && text.contains("RCPT TO"),
        "{text}"
    );
    dest.wait_for_messages(1).await;
    relay.wait_until_empty().await;
}

#[tokio::test]
async fn accepted_mail_survives_kill_9_and_is_delivered_once() {
    let mx = FakeMx::start().await;
    mx.on("connect", "421 out of connection slots");
    let mut relay = Relay::start(&smarthost(&mx));
    for i in 0..30 {
        // Some of the messages are stored as files.
        let text = b"x\r\n".repeat(if i % 3 == 0 { 60_000 } else { 1 });
        let message = [b"Subject: t\r\n\r\n", &text[..]].concat();
        relay
            .send("a@sender.test", &[&format!("u{i}@dest.test")], &message)
            .await;
    }
    relay.kill();
    mx.behave();
    relay.restart();
    let mut arrived: Vec<String> = mx
        .wait_for_messages(30)
        .await
        .into_iter()
        .flat_map(|m| m.recipients)
        .collect();
    relay.wait_until_empty().await;
    arrived.sort();
    let mut expected: Vec<String> = (0..30).map(|i| format!("<u{i}@dest.test>")).collect();
    expected.sort();
    assert_eq!(arrived, expected);
    assert_eq!(relay.body_files(), 0);
}

#[tokio::test]
async fn kill_9_under_load_loses_no_acknowledged_message_and_repeats_no_finished_one() {
    let mx = FakeMx::start().await;
    let mut relay = Relay::start(&smarthost(&mx));
    let ledger = Ledger::default();
    let mut recorded = Vec::new();
    for round in 0..5 {
        load(&relay, round, &ledger).await;
        let log = relay.kill();
        recorded.push((mx.messages().len(), ended(&log)));
        relay.restart();
    }
    relay.wait_until_empty().await;
    let ids: Vec<String> = mx.messages().iter().map(|m| id_of(&m.data)).collect();
    for (before, ended) in recorded {
        assert!(!ended.is_empty(), "a run without a delivery");
        let repeated: Vec<_> = ids[before..]
            .iter()
            .filter(|id| ended.contains(*id))
            .collect();
        assert!(repeated.is_empty(), "{repeated:?}");
    }
    let arrived: BTreeSet<String> = mx
        .messages()
        .into_iter()
        .flat_map(|m| m.recipients)
        .collect();
    let acknowledged = ledger.lock().expect("no client panicked");
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|to| !arrived.contains(&format!("<{to}>")))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(relay.body_files(), 0);
}

/// Returns the messages that have left the queue according to a log.
fn ended(log: &str) -> BTreeSet<String> {
    let ends = log.lines().filter_map(|line| line.split_once(" end msg "));
    ends.filter_map(|(_, rest)| rest.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// Returns the queue id in the trace header.
fn id_of(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    let id = text
        .split_once(" id ")
        .and_then(|(_, rest)| rest.split_once(';'));
    id.expect("a trace header").0.to_owned()
}

/// The recipients whose message was answered with `250`.
type Ledger = Arc<Mutex<Vec<String>>>;

/// Runs eight clients until one of them has sent all its messages. The others are stopped anywhere.
async fn load(relay: &Relay, round: usize, ledger: &Ledger) {
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let mut connection = relay.connect().await;
        let ledger = Arc::clone(ledger);
        clients.spawn(async move {
            for i in 0..20 {
                let to = format!("r{round}c{client}m{i}@dest.test");
                let text = b"x\r\n".repeat(if i % 4 == 0 { 5_000 } else { 1 });
                let message = [b"Subject: t\r\n\r\n", &text[..]].concat();
                let sent = connection.send("a@sender.test", &[&to], &message).await;
                sent.expect("a 250, as nothing fails before the kill");
                ledger.lock().expect("no client panicked").push(to);
            }
        });
    }
    clients
        .join_next()
        .await
        .expect("a client")
        .expect("no panic");
}

#[tokio::test]
async fn a_dns_outage_defers_mail_and_never_bounces_it() {
    let (dest, sender, dns, relay) = world().await;
    dns.fail("dest.test", relay_testkit::Trouble::ServFail);
    relay
        .send("app@sender.test", &["u@dest.test"], MESSAGE)
        .await;
    let asked_again = || dns.times_asked("dest.test", "MX") >= 2;
    relay.wait_until("second question", asked_again).await;
    assert_eq!(relay.queued(), 1);
    dns.set("dest.test", "MX", &["10 mx.dest.test"]);
    dest.wait_for_messages(1).await;
    relay.wait_until_empty().await;
    assert_eq!(sender.connections(), 0);
}

#[tokio::test]
async fn the_lists_of_the_queue_have_their_documented_form() {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "450 4.2.0 later");
    let relay = Relay::start(&smarthost(&mx));
    let id = relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    mx.wait_for_command("RCPT").await;
    let list = relay.ctl(&["--json", "queue", "list"]);
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert_eq!(list[0]["id"], id.as_str());
    assert_eq!(list[0]["sender"], "a@sender.test");
    assert_eq!(list[0]["recipients"][0]["address"], "u@dest.test");
    let read = String::from_utf8(relay.ctl(&["qread"]).stdout).expect("text");
    assert!(
        read.contains(&id) && read.contains("\tremote\tu@dest.test"),
        "{read}"
    );
    let unknown = relay.ctl(&["queue", "show", "0000000000000"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test]
async fn queue_show_has_the_command_and_its_whole_reply() {
    let mx = FakeMx::start().await;
    mx.on(
        "rcpt u@dest.test",
        "450-4.7.1 greylisted for now\n450-4.7.1 see https://dest.test/why\n450 4.7.1 come back",
    );
    let relay = Relay::start(&smarthost(&mx));
    let id = relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    let shown = || relay.done(&["queue", "show", &id]);
    relay
        .wait_until("attempt", || shown().contains("RCPT TO"))
        .await;
    let shown = shown();
    for words in [
        "450 4.7.1",
        "greylisted for now",
        "see https://dest.test/why",
        "come back",
        "127.0.0.1",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}
