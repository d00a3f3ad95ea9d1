//! Which addresses are completed and replaced.

use relay_queue::MemoryStore;
use relay_smtpd::{Replacement, Rewriting, Role, ServerConfig};

use crate::log::Log;
use crate::world::{Client, FRIEND, World, config, content, start};

fn world() -> World<MemoryStore> {
    let rewriting = Rewriting {
        domain: Some("ours.test".into()),
        from: vec![Replacement {
            pattern: "root@*".parse().expect("a pattern"),
            sender: "ops@ours.test".parse().expect("an address"),
        }],
    };
    start(
        MemoryStore::new(),
        ServerConfig {
            rewriting,
            ..config()
        },
    )
}

async fn send(client: &mut Client, sender: &str, recipient: &str, text: &str) {
    client.expect(&format!("MAIL FROM:<{sender}>"), "250").await;
    client
        .expect(&format!("RCPT TO:<{recipient}>"), "250")
        .await;
    client.expect("DATA", "354").await;
    client.expect(&format!("{text}\r\n."), "250").await;
}

/// The last message in the queue: its envelope, and the text after the Received field.
async fn arrived(world: &World<MemoryStore>) -> (String, String, String) {
    let message = world.last();
    let (head, body) = content(&*world.store, &message).await;
    let trace = head.rfind("Received: ").expect("a trace header");
    let fields = head[trace..]
        .split_once("\r\nDate: ")
        .map_or("", |(_, rest)| rest);
    let text = format!("{fields}{}", String::from_utf8_lossy(&body));
    let recipient = message.recipients[0].to.path.to_string();
    (message.sender.to_string(), recipient, text)
}

#[tokio::test]
async fn submitted_mail_is_sent_with_complete_addresses() {
    let log = Log::kept();
    let world = world();
    let mut client = world.greeted_at(Role::Submission, FRIEND).await;
    let text = "From: Cron <root>\r\nTo: u\r\n\r\nTo: u";
    send(&mut client, "root", "u", text).await;
    let (sender, recipient, text) = arrived(&world).await;
    assert_eq!(
        (&*sender, &*recipient),
        ("<ops@ours.test>", "<u@ours.test>")
    );
    let expected = "From: Cron <ops@ours.test>\r\nTo: u@ours.test\r\n\r\nTo: u\r\n";
    assert!(text.ends_with(expected), "{text}");
    log.has(&["event=\"rewrite\"", "root@ours.test", "ops@ours.test"])
        .await;
    world.stopped().await;
}

#[tokio::test]
async fn the_null_sender_stays_and_a_missing_from_field_names_the_sender() {
    let world = world();
    let mut client = world.greeted_at(Role::Submission, FRIEND).await;
    send(&mut client, "", "u@dest.test", "From: root\r\n\r\nhello").await;
    let (sender, _, text) = arrived(&world).await;
    assert_eq!(sender, "<>");
    assert!(text.contains("From: ops@ours.test\r\n"), "{text}");

    send(
        &mut client,
        "root",
        "u@dest.test",
        "Subject: t\r\n\r\nhello",
    )
    .await;
    let message = world.last();
    let (head, _) = content(&*world.store, &message).await;
    assert!(head.contains("\r\nFrom: ops@ours.test\r\n"), "{head}");
    world.stopped().await;
}

#[tokio::test]
async fn mail_that_is_not_submitted_stays_unchanged() {
    let world = world();
    let mut client = world.greeted_at(Role::Mx, FRIEND).await;
    client.expect("MAIL FROM:<root>", "501").await;
    let text = "From: root@a.test\r\nTo: u\r\n\r\nhello";
    send(&mut client, "root@a.test", "u@dest.test", text).await;
    let message = world.last();
    let (head, body) = content(&*world.store, &message).await;
    assert_eq!(message.sender.to_string(), "<root@a.test>");
    assert!(!head.contains("From: "), "{head}");
    assert_eq!(String::from_utf8_lossy(&body), format!("{text}\r\n"));
    world.stopped().await;
}

#[tokio::test]
async fn a_header_section_that_rewriting_makes_too_long_is_refused() {
    let mut small = config();
    small.limits.session.header_size = 1000;
    small.rewriting.domain = Some("ours.test".into());
    let world = start(MemoryStore::new(), small);
    let mut client = world.greeted_at(Role::Submission, FRIEND).await;
    for (addresses, code) in [(50, "250"), (300, "552 5.3.4"), (1, "250")] {
        client.begin("user@dest.test").await;
        let text = format!("To: {}a\r\n\r\nhello", "a,".repeat(addresses));
        client.expect(&format!("{text}\r\n."), code).await;
    }
    // The next message contains nothing of the refused one.
    let (_, body) = content(&*world.store, &world.last()).await;
    let expected = "To: a@ours.test,a@ours.test\r\n\r\nhello\r\n";
    assert_eq!(String::from_utf8_lossy(&body), expected);
    world.stopped().await;
}
