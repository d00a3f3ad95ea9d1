//! Reports that a sender requests: sent by the relay, or left to the next host (RFC 3461).

use std::net::{IpAddr, Ipv4Addr};

use relay_testkit::{FakeDns, FakeMx};
use relay_tests::Relay;

/// A relay, and the hosts of dest.test and sender.test.
struct World {
    dest: FakeMx,
    sender: FakeMx,
    relay: Relay,
    _dns: FakeDns,
}

impl World {
    async fn new() -> Self {
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
        Self {
            dest,
            sender,
            relay,
            _dns: dns,
        }
    }

    /// Sends one message with these parameters for MAIL and RCPT.
    async fn send(&self, mail: &str, rcpt: &str) {
        let mut client = self.relay.connect().await;
        for command in [
            format!("MAIL FROM:<app@sender.test> {mail}"),
            format!("RCPT TO:<u@dest.test> {rcpt}"),
            "DATA".to_owned(),
            "Subject: t\r\n\r\nhello\r\n.".to_owned(),
        ] {
            let reply = client.command(&command).await;
            assert!(reply.starts_with(['2', '3']), "{command}: {reply}");
        }
    }

    /// Returns the report on it, which goes to the sender's host.
    async fn report(&self) -> String {
        let report = self.sender.wait_for_messages(1).await.remove(0);
        assert!(report.mail.starts_with("<>"), "{}", report.mail);
        assert!(report.recipients[0].starts_with("<app@sender.test>"));
        String::from_utf8(report.data).expect("text")
    }
}

const ASKED: (&str, &str) = (
    "RET=HDRS ENVID=QQ+2B1",
    "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first@orig.test",
);

#[tokio::test]
async fn the_relay_reports_a_delivery_if_the_next_host_sends_no_reports() {
    let world = World::new().await;
    world.send(ASKED.0, ASKED.1).await;
    let arrived = world.dest.wait_for_messages(1).await.remove(0);
    assert_eq!(arrived.recipients, ["<u@dest.test>"]);
    assert!(!arrived.mail.contains("ENVID"), "{}", arrived.mail);
    let report = world.report().await;
    for line in [
        "Original-Envelope-Id: QQ+1\r\n",
        "Original-Recipient: rfc822;first@orig.test\r\n",
        "Final-Recipient: rfc822; u@dest.test\r\nAction: relayed\r\n",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(!report.contains("hello"), "headers alone: {report}");
    world.relay.wait_until_empty().await;
}

#[tokio::test]
async fn the_request_is_passed_on_to_a_host_that_sends_reports_and_the_relay_sends_none() {
    let world = World::new().await;
    world.dest.offer(&["PIPELINING", "DSN"]);
    world.send(ASKED.0, ASKED.1).await;
    let arrived = world.dest.wait_for_messages(1).await.remove(0);
    assert_eq!(arrived.mail, format!("<app@sender.test> {}", ASKED.0));
    assert_eq!(arrived.recipients, [format!("<u@dest.test> {}", ASKED.1)]);
    world.relay.wait_until_empty().await;
    assert_eq!(world.sender.connections(), 0);
}

#[tokio::test]
async fn a_failure_is_reported_unless_the_sender_wants_no_report() {
    for offered in [&["PIPELINING", "DSN"][..], &["PIPELINING"]] {
        let world = World::new().await;
        world.dest.offer(offered);
        world.dest.on("rcpt", "550 5.1.1 no such user");
        for unwanted in ["NOTIFY=NEVER", "NOTIFY=SUCCESS"] {
            world.send("", unwanted).await;
            world.relay.wait_until_empty().await;
            assert_eq!(world.sender.connections(), 0, "{unwanted}");
        }
        world.send("", "NOTIFY=FAILURE").await;
        let report = world.report().await;
        assert!(
            report.contains("Action: failed\r\nStatus: 5.1.1\r\n"),
            "{report}"
        );
    }
}
