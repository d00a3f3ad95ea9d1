//! Which clients and messages are checked, and the consequences.

use std::future::{pending, ready};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use relay_queue::MemoryStore;
use relay_smtpd::inbound_check::{
    CheckFuture, CheckResult, InboundCheck, Listing, MessageCheck, MessageSource, Refusal,
};
use relay_smtpd::{Role, ServerConfig};

use crate::log::Log;
use crate::world::{EXTERNAL, FRIEND, World, config, content, start};

const FIELD: &str = "Authentication-Results: relay.test; found=it\r\n";

/// A check with configured results, which records its input.
#[derive(Debug, Default)]
struct RecordingCheck {
    listing: Option<Listing>,
    refusal: Option<Refusal>,
    is_slow: bool,
    asked: Mutex<Vec<IpAddr>>,
    inputs: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug)]
struct RecordingMessageCheck {
    refusal: Option<Refusal>,
    message: String,
    inputs: Arc<Mutex<Vec<String>>>,
}

impl InboundCheck for RecordingCheck {
    fn listing(&self, client: IpAddr) -> Option<CheckFuture<Option<Listing>>> {
        self.asked.lock().expect("no panic").push(client);
        Some(if self.is_slow {
            Box::pin(pending())
        } else {
            Box::pin(ready(self.listing.clone()))
        })
    }

    fn check_message(&self, source: MessageSource, header: &[u8]) -> Option<Box<dyn MessageCheck>> {
        let hello = source
            .hello
            .map_or(String::new(), |hello| hello.to_string());
        let header = String::from_utf8_lossy(header);
        Some(Box::new(RecordingMessageCheck {
            refusal: self.refusal.clone(),
            message: format!("{:?} {hello} {}|{header}|", source.client, source.sender),
            inputs: Arc::clone(&self.inputs),
        }))
    }

    fn is_forged(&self, name: &[u8], value: &[u8]) -> bool {
        name.eq_ignore_ascii_case(b"Authentication-Results") && value.starts_with(b" relay.test")
    }
}

impl MessageCheck for RecordingMessageCheck {
    fn pass(&mut self, body: &[u8]) {
        self.message += &String::from_utf8_lossy(body);
    }

    fn finish(self: Box<Self>) -> CheckFuture<CheckResult> {
        self.inputs.lock().expect("no panic").push(self.message);
        Box::pin(ready(CheckResult {
            field: FIELD.to_owned(),
            refusal: self.refusal,
        }))
    }
}

fn listed() -> Listing {
    let (list, text) = ("bl.test".to_owned(), "see bl.test".to_owned());
    Listing { list, text }
}

fn fails_dmarc() -> Refusal {
    Refusal::DmarcReject {
        domain: "sender.test".to_owned(),
        spf: "fail",
        dkim: "none",
    }
}

fn world(check: RecordingCheck) -> (World<MemoryStore>, Arc<RecordingCheck>) {
    let check = Arc::new(check);
    let config = ServerConfig {
        inbound: Some(Arc::clone(&check) as Arc<dyn InboundCheck>),
        ..config()
    };
    (start(MemoryStore::new(), config), check)
}

/// Sends a message as an external client and checks what is stored. Returns the input of
/// the check.
async fn checked(
    world: &World<MemoryStore>,
    check: &RecordingCheck,
    message: &str,
    kept: &str,
) -> String {
    let mut client = world.greeted(EXTERNAL).await;
    client.begin("user@local.test").await;
    client.expect(&format!("{message}."), "250").await;
    let (head, body) = content(&*world.store, &world.last()).await;
    assert!(head.starts_with(&format!("{FIELD}Received: ")), "{head}");
    assert_eq!(String::from_utf8_lossy(&body), kept);
    check
        .inputs
        .lock()
        .expect("no panic")
        .pop()
        .expect("a case")
}

#[tokio::test]
async fn an_external_message_is_checked_as_it_came_and_its_results_are_at_the_top() {
    let (world, check) = world(RecordingCheck::default());
    let long = "a line of text\r\n".repeat(20_000);
    let forged = "Authentication-Results: relay.test; dkim=pass\r\n";
    let others = "Authentication-Results: else.test; dkim=pass\r\n";
    for (header, body, kept) in [
        (
            "Subject: t\r\n",
            long.as_str(),
            format!("Subject: t\r\n\r\n{long}"),
        ),
        (
            &format!("{forged}A: 1\r\n{forged}{others}"),
            "hello\r\n",
            format!("A: 1\r\n{others}\r\nhello\r\n"),
        ),
        (forged, "", "\r\n".to_owned()),
    ] {
        let inputs = checked(&world, &check, &format!("{header}\r\n{body}"), &kept).await;
        let client_and_sender = format!("Some({EXTERNAL}) client.test <app@sender.test>");
        assert_eq!(inputs, format!("{client_and_sender}|{header}|{body}"));
    }
    // The missing empty line is added, so that no reader takes the body for fields.
    for (message, kept) in [
        (
            format!("A: 1\r\nno field\r\n{forged}"),
            format!("A: 1\r\n\r\nno field\r\n{forged}"),
        ),
        (
            format!("no field\r\n{forged}"),
            format!("no field\r\n{forged}"),
        ),
        (forged.to_owned(), String::new()),
    ] {
        checked(&world, &check, &message, &kept).await;
    }
    world.stopped().await;
}

#[tokio::test]
async fn other_clients_are_not_checked() {
    let (world, check) = world(RecordingCheck {
        listing: Some(listed()),
        refusal: Some(fails_dmarc()),
        ..RecordingCheck::default()
    });
    for role in [Role::Mx, Role::Submission] {
        let mut friend = world.greeted_at(role, FRIEND).await;
        let forged = "Authentication-Results: relay.test; x\r\nFrom: a@b.test";
        friend.submit(&format!("{forged}\r\n\r\nhello")).await;
        let (head, body) = content(&*world.store, &world.last()).await;
        assert!(!head.contains("Authentication-Results"), "{head}");
        assert!(String::from_utf8_lossy(&body).contains("relay.test; x"));
    }
    // On a port for clients that may relay, external clients are refused, so they need not be
    // checked.
    world.greeted_at(Role::Submission, EXTERNAL).await;
    assert!(check.asked.lock().expect("no panic").is_empty());
    assert!(check.inputs.lock().expect("no panic").is_empty());
    world.stopped().await;
}

#[tokio::test]
async fn a_listed_client_reaches_only_the_postmaster() {
    let log = Log::kept();
    let (world, check) = world(RecordingCheck {
        listing: Some(listed()),
        ..RecordingCheck::default()
    });
    let mut client = world.greeted(EXTERNAL).await;
    client.expect("MAIL FROM:<app@sender.test>", "250").await;
    let refusal =
        format!("550 5.7.1 sorry, [{EXTERNAL}] is listed by bl.test: see bl.test (#5.7.1)");
    client.expect("RCPT TO:<user@local.test>", &refusal).await;
    log.has(&["event=\"refused\"", "is listed by bl.test"])
        .await;
    client.expect("RCPT TO:<user@dest.test>", "553 5.7.1").await;
    for postmaster in [
        "postmaster",
        "Postmaster@relay.test",
        "postmaster@local.test",
    ] {
        client
            .expect(&format!("RCPT TO:<{postmaster}>"), "250")
            .await;
    }
    client.expect("DATA", "354").await;
    client.expect("Subject: help\r\n\r\nwhy?\r\n.", "250").await;
    let asked = check.asked.lock().expect("no panic").clone();
    assert_eq!(asked, [IpAddr::from(EXTERNAL)], "asked once in the session");
    world.stopped().await;
}

#[tokio::test]
async fn only_an_external_client_with_a_recipient_waits_for_a_block_list() {
    let (world, _) = world(RecordingCheck {
        is_slow: true,
        ..RecordingCheck::default()
    });
    let mut external = world.greeted(EXTERNAL).await;
    external.expect("MAIL FROM:<app@sender.test>", "250").await;
    external.expect("RSET", "250").await;
    external.expect("QUIT", "221").await;
    let mut friend = world.greeted(FRIEND).await;
    friend.submit("From: a@b.test\r\n\r\nhello").await;
    world.stopped().await;
}

#[tokio::test]
async fn a_message_that_fails_dmarc_is_refused_and_leaves_nothing() {
    let log = Log::kept();
    let (world, _) = world(RecordingCheck {
        refusal: Some(fails_dmarc()),
        ..RecordingCheck::default()
    });
    let mut client = world.greeted(EXTERNAL).await;
    for _ in 0..2 {
        client.begin("user@local.test").await;
        let refusal = "550 5.7.26 sorry, sender.test has mail refused that fails DMARC: SPF fail, \
             DKIM none, none aligned (#5.7.26)";
        client.expect("Subject: t\r\n\r\nhello\r\n.", refusal).await;
        log.has(&["event=\"refused\"", "end of DATA", "fails DMARC"])
            .await;
    }
    assert!(world.accepted.lock().expect("no panic").is_empty());
    world.stopped().await;
}
