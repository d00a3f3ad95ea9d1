//! Mail from external clients: the authentication results, and which clients are refused.

use std::net::{IpAddr, Ipv4Addr};

use relay_testkit::{FakeDns, FakeMx};
use relay_tests::{Client, Relay};

/// The example of RFC 8463 A.3, with an Ed25519 and an RSA signature.
const SIGNED: &str = include_str!("../../crates/dkim/tests/vectors/rfc8463.eml");
const KEYS: [(&str, &str); 2] = [
    (
        "brisbane._domainkey.football.example.com",
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    ),
    (
        "test._domainkey.football.example.com",
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy\
         5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9Pzo\
         xZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
    ),
];
const UNSIGNED: &str = "From: joe@football.example.com\r\n\r\nhello\r\n";

/// A relay for dest.test that relays for no client, its host, and the DNS.
struct World {
    dest: FakeMx,
    dns: FakeDns,
    relay: Relay,
}

impl World {
    async fn new(inbound: &str) -> Self {
        let [dest] = FakeMx::start_on([IpAddr::from(Ipv4Addr::new(127, 0, 0, 2))]).await;
        let dns = FakeDns::start().await;
        dns.set("dest.test", "MX", &["10 mx.dest.test"]);
        dns.set("mx.dest.test", "A", &["127.0.0.2"]);
        dns.set(
            "_dmarc.football.example.com",
            "TXT",
            &["v=DMARC1; p=reject"],
        );
        dns.set("football.example.com", "TXT", &["v=spf1 -all"]);
        dns.set("sender.test", "TXT", &["v=spf1 ip4:127.0.0.1 -all"]);
        for (name, record) in KEYS {
            dns.set(name, "TXT", &[record]);
        }
        let world = Self {
            relay: Relay::prepare(""),
            dest,
            dns,
        };
        world.configure("[]", inbound);
        let Self {
            dest,
            dns,
            mut relay,
        } = world;
        relay.restart();
        Self { dest, dns, relay }
    }

    fn configure(&self, networks: &str, inbound: &str) {
        self.relay.configure(&format!(
            "[relay]\nnetworks = {networks}\ndomains = [\"dest.test\"]\n\
             [delivery]\nport = {}\nrefuse_addresses = []\n[dns]\nservers = [\"{}\"]\n{inbound}",
            self.dest.address().port(),
            self.dns.address()
        ));
    }

    /// Sends a message. Returns the reply to its end.
    async fn send(&self, sender: &str, message: &str) -> String {
        let mut client = self.relay.connect().await;
        for command in [
            format!("MAIL FROM:<{sender}>"),
            "RCPT TO:<u@dest.test>".to_owned(),
        ] {
            let reply = client.command(&command).await;
            assert!(reply.starts_with('2'), "{command}: {reply}");
        }
        client.command("DATA").await;
        client.command(&format!("{message}.")).await
    }

    async fn arrived(&self, number: usize) -> String {
        let message = self.dest.wait_for_messages(number).await.remove(number - 1);
        String::from_utf8(message.data).expect("text")
    }
}

async fn asked(client: &mut Client, command: &str, reply: &str) {
    let told = client.command(command).await;
    assert!(told.starts_with(reply), "{command}: {told}");
}

#[tokio::test]
async fn the_results_are_on_top_and_forged_results_are_removed() {
    let world = World::new("[inbound]\ndmarc = \"enforce\"\n").await;
    let message = SIGNED.replace('\n', "\r\n");
    let forged = format!(
        "Authentication-Results: else.test; dkim=fail\r\n\
         AUTHENTICATION-RESULTS : (x)\r\n\t\"Relay.test\" 1; dkim=pass\r\n{message}"
    );
    let reply = world.send("a@sender.test", &forged).await;
    assert!(reply.starts_with("250"), "{reply}");
    let arrived = world.arrived(1).await;
    let (top, rest) = arrived.split_once("Received: ").expect("a trace header");
    assert_eq!(
        top,
        "Authentication-Results: relay.test;\r\n\tspf=pass smtp.mailfrom=a@sender.test;\r\n\
         \tdkim=pass header.d=football.example.com header.s=brisbane;\r\n\
         \tdkim=pass header.d=football.example.com header.s=test;\r\n\
         \tdmarc=pass (p=reject dis=none) header.from=football.example.com\r\n"
    );
    let (_, fields) = rest
        .split_once("\r\nAuthentication-")
        .expect("the results of another host");
    assert_eq!(
        fields,
        format!("Results: else.test; dkim=fail\r\n{message}")
    );
    world
        .relay
        .wait_for_log("from football.example.com client [127.0.0.1]: spf pass, dkim pass, dmarc pass (p=reject): accepted")
        .await;
}

#[tokio::test]
async fn a_domains_policy_is_enforced_if_configured() {
    let world = World::new("[inbound]\ndmarc = \"enforce\"\n").await;
    let changed = SIGNED.replace('\n', "\r\n").replace("hungry", "thirsty");
    for (message, dkim) in [(UNSIGNED, "none"), (&changed, "fail")] {
        let reply = world.send("joe@football.example.com", message).await;
        let told = format!(
            "550 5.7.26 sorry, football.example.com has mail refused that fails DMARC: SPF fail, DKIM {dkim}"
        );
        assert!(reply.starts_with(&told), "{reply}");
    }
    world.dns.set(
        "_dmarc.football.example.com",
        "TXT",
        &["v=DMARC1; p=quarantine"],
    );
    let reply = world.send("joe@football.example.com", UNSIGNED).await;
    assert!(reply.starts_with("250"), "{reply}");
    let arrived = world.arrived(1).await;
    assert!(
        arrived.contains("dmarc=fail (p=quarantine dis=quarantine)"),
        "{arrived}"
    );
    world.dns.set(
        "_dmarc.football.example.com",
        "TXT",
        &["v=DMARC1; p=reject"],
    );
    world.configure("[]", "[inbound]\ndmarc = \"report\"\n");
    world.relay.done(&["reload"]);
    let reply = world.send("joe@football.example.com", UNSIGNED).await;
    assert!(reply.starts_with("250"), "{reply}");
    let arrived = world.arrived(2).await;
    assert!(
        arrived.contains("dmarc=fail (p=reject dis=none)"),
        "{arrived}"
    );
}

#[tokio::test]
async fn a_listed_client_is_refused_with_the_lists_text_unless_it_may_relay() {
    let lists = "[inbound]\ndnsbl = [\"broken.test\", \"bl.test\"]\n";
    let world = World::new(lists).await;
    world
        .dns
        .set("1.0.0.127.broken.test", "A", &["127.255.255.254"]);
    world.dns.set("1.0.0.127.bl.test", "A", &["127.0.0.4"]);
    world
        .dns
        .set("1.0.0.127.bl.test", "TXT", &["see\r\n250 https://bl.test/"]);
    let mut client = world.relay.connect().await;
    asked(&mut client, "MAIL FROM:<a@sender.test>", "250").await;
    let told =
        "550 5.7.1 sorry, [127.0.0.1] is listed by bl.test: see??250 https://bl.test/ (#5.7.1)";
    asked(&mut client, "RCPT TO:<u@dest.test>", told).await;
    asked(&mut client, "RCPT TO:<postmaster@relay.test>", "250").await;
    world
        .relay
        .wait_for_log("dnsbl: broken.test is ignored for now: it answers 127.255.255.254")
        .await;

    world.configure("[\"127.0.0.1\"]", lists);
    world.relay.done(&["reload"]);
    let before = world.dns.asked().len();
    let reply = world.send("a@sender.test", UNSIGNED).await;
    assert!(reply.starts_with("250"), "{reply}");
    let arrived = world.arrived(1).await;
    assert!(!arrived.contains("Authentication-Results"), "{arrived}");
    let asked = world.dns.asked().split_off(before);
    assert!(
        asked.iter().all(|(name, _)| name.ends_with("dest.test")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn nothing_is_looked_up_unless_configured() {
    let world = World::new("[inbound]\n").await;
    let forged = format!("Authentication-Results: relay.test; dkim=pass\r\n{UNSIGNED}");
    let reply = world.send("joe@football.example.com", &forged).await;
    assert!(reply.starts_with("250"), "{reply}");
    assert!(world.arrived(1).await.ends_with(&forged));
    let asked = world.dns.asked();
    assert!(
        asked.iter().all(|(name, _)| name.ends_with("dest.test")),
        "{asked:?}"
    );
}
