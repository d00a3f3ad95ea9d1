//! The replies to a client in a session, and its message in the queue.

use std::sync::Arc;

use relay_message::QueueStore as _;
use relay_queue::{MemoryStore, SledStore, StoreConfig};
use relay_smtp::dsn::{DsnRequest, Ret};
use relay_testkit::FaultyStore;

use crate::world::{EXTERNAL, FRIEND, config, content, soon, start};

#[tokio::test]
async fn an_accepted_message_is_stored_as_it_was_sent() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.greeted(FRIEND).await;
    client.begin("user@dest.test").await;
    let reply = client.command("Subject: t\r\n\r\n..hello\r\n.").await;

    let message = world.accepted.lock().expect("no panic")[0].clone();
    assert_eq!(reply, format!("250 2.0.0 ok queued as {}\r\n", message.id));
    assert_eq!(message.sender.as_str(), "app@sender.test");
    let (head, body) = content(&*world.store, &message).await;
    assert_eq!(body, b"Subject: t\r\n\r\n.hello\r\n");
    for part in [
        "client.test",
        "[127.0.0.1]",
        "relay.test",
        "ESMTP",
        &message.id.to_string(),
    ] {
        assert!(head.contains(part), "{part} in {head}");
    }
    assert!(head.starts_with("Received: ") && head.ends_with("+0000\r\n"));
    world.stopped().await;
}

#[tokio::test]
async fn dsn_parameters_are_stored_with_the_message() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.greeted(FRIEND).await;
    for command in [
        "MAIL FROM:<app@sender.test> RET=HDRS ENVID=QQ+2B1",
        "RCPT TO:<user@dest.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first@orig.test",
        "RCPT TO:<postmaster> NOTIFY=NEVER ORCPT=rfc822;postmaster@relay.test",
        "RCPT TO:<other@dest.test>",
        "DATA",
    ] {
        let reply = client.command(command).await;
        assert!(reply.starts_with(['2', '3']), "{command}: {reply}");
    }
    assert!(client.command(".").await.starts_with("250"));
    let message = world.accepted.lock().expect("no panic")[0].clone();
    let asked = DsnRequest {
        ret: Some(Ret::Headers),
        envid: Some("QQ+2B1".parse().expect("xtext")),
    };
    assert_eq!(message.dsn, asked);
    let kept = message.recipients.iter().map(|r| {
        let orcpt = r.to.orcpt.as_ref().map(ToString::to_string);
        (r.to.path.as_str(), r.to.notify.to_string(), orcpt)
    });
    let orcpt = |text: &str| Some(text.to_owned());
    assert_eq!(
        kept.collect::<Vec<_>>(),
        [
            (
                "user@dest.test",
                "SUCCESS,DELAY".to_owned(),
                orcpt("rfc822;first@orig.test")
            ),
            (
                "ann@relay.test",
                "NEVER".to_owned(),
                orcpt("rfc822;postmaster@relay.test")
            ),
            ("other@dest.test", String::new(), None),
        ]
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_first_line_that_is_not_a_field_never_joins_our_received_field() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.greeted(FRIEND).await;
    for (first, own_header) in [
        (" forged-folding by=evil", false),
        ("hello world", false),
        ("Subject: t", true),
    ] {
        client.begin("user@dest.test").await;
        let reply = client.command(&format!("{first}\r\n.")).await;
        assert!(reply.starts_with("250"), "{reply}");
        let message = world.accepted.lock().expect("no panic").pop();
        let (head, body) = content(&*world.store, &message.expect("a message")).await;
        assert_eq!(body, format!("{first}\r\n").as_bytes());
        let end = if own_header {
            "+0000\r\n"
        } else {
            "+0000\r\n\r\n"
        };
        assert!(head.ends_with(end), "{first}: {head:?}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_large_message_passes_unchanged() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.greeted(FRIEND).await;
    client.begin("user@dest.test").await;
    let body = [
        &b"Subject: t\r\n\r\n"[..],
        &b"0123456789abcdef\r\n".repeat(200_000),
    ]
    .concat();
    client.send(&body).await;
    assert!(client.command(".").await.starts_with("250"));
    let message = world.accepted.lock().expect("no panic")[0].clone();
    assert!(content(&*world.store, &message).await.1 == body);
    world.stopped().await;
}

#[tokio::test]
async fn a_pipelined_session_is_answered_in_order() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.connect(FRIEND).await;
    client
        .send(
            b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@dest.test>\r\nDATA\r\n\
              Subject: t\r\n\r\nhello\r\n.\r\nNOOP\r\nQUIT\r\n",
        )
        .await;
    for code in ["220", "250", "250", "250", "354", "250", "250", "221"] {
        assert!(client.reply().await.starts_with(code), "{code}");
    }
    assert_eq!(client.reply().await, "");
    assert_eq!(world.store.count(), 1);
    world.stopped().await;
}

#[tokio::test]
async fn an_external_client_reaches_only_our_domains_and_the_postmaster() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.greeted(EXTERNAL).await;
    let refused = "553 5.7.1 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)\r\n";
    assert!(
        client
            .command("MAIL FROM:<x@bad.test>")
            .await
            .starts_with("553 5.7.1")
    );
    assert!(
        client
            .command("MAIL FROM:<x@evil.test>")
            .await
            .starts_with("250")
    );
    assert_eq!(client.command("RCPT TO:<user@dest.test>").await, refused);
    assert_eq!(client.command("RCPT TO:<user@[127.0.0.1]>").await, refused);
    assert_eq!(
        client.command("RCPT TO:<@local.test:user@dest.test>").await,
        refused
    );
    assert_eq!(
        client.command("RCPT TO:<postmaster@other.test>").await,
        refused
    );
    for ours in [
        "user@LOCAL.test",
        "user%dest.test@local.test",
        "Postmaster",
        "postmaster@relay.test",
    ] {
        let reply = client.command(&format!("RCPT TO:<{ours}>")).await;
        assert!(reply.starts_with("250"), "{ours}: {reply}");
    }
    assert!(client.command("DATA").await.starts_with("354"));
    assert!(client.command(".").await.starts_with("250"));
    let message = world.accepted.lock().expect("no panic")[0].clone();
    let to: Vec<_> = message
        .recipients
        .iter()
        .map(|r| r.to.path.as_str())
        .collect();
    assert_eq!(
        to,
        [
            "user@LOCAL.test",
            "user%dest.test@local.test",
            "ann@relay.test",
            "ann@relay.test"
        ]
    );
    world.stopped().await;
}

#[tokio::test]
async fn new_rules_apply_to_new_sessions() {
    let world = start(MemoryStore::new(), config());
    let mut old = world.greeted(EXTERNAL).await;
    let mut open = config();
    open.relay
        .networks
        .push("127.0.0.9/32".parse().expect("a network"));
    world.config.send(Arc::new(open)).expect("a running server");
    let mut new = world.greeted(EXTERNAL).await;
    for (client, code) in [(&mut old, "553"), (&mut new, "250")] {
        client.command("MAIL FROM:<a@b.test>").await;
        assert!(
            client
                .command("RCPT TO:<u@dest.test>")
                .await
                .starts_with(code),
            "{code}"
        );
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_failure_of_the_store_gives_451_and_leaves_nothing() {
    let world = start(FaultyStore::new(MemoryStore::new()), config());
    let mut client = world.greeted(FRIEND).await;
    // The message is so large that its content is passed on in several writes before its end.
    let body = "0123456789abcdef\r\n".repeat(20_000);
    let mut failures = 0;
    for n in 0.. {
        world.store.fail_after(n);
        client.command("MAIL FROM:<a@b.test>").await;
        client.command("RCPT TO:<u@dest.test>").await;
        let data = client.command("DATA").await;
        let reply = if data.starts_with("354") {
            client.command(&format!("Subject: t\r\n\r\n{body}.")).await
        } else {
            data
        };
        assert!(
            client.command("RSET").await.starts_with("250"),
            "the session stays open"
        );
        if world.store.is_armed() {
            assert!(reply.starts_with("250 2.0.0 ok queued as "), "{reply}");
            break;
        }
        failures += 1;
        assert_eq!(reply, "451 4.3.0 qqt failure (#4.3.0)\r\n");
        assert_eq!(
            (
                world.store.count(),
                world.accepted.lock().expect("no panic").len()
            ),
            (0, 0)
        );
    }
    assert!(failures >= 4, "begin, two writes and commit have failed");
    world.store.fail_after(u64::MAX);
    assert_eq!(world.store.count(), 1);
    world.stopped().await;
}

#[tokio::test]
async fn a_refused_message_frees_its_disk_space_before_its_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = SledStore::open(&StoreConfig {
        state_dir: directory.path().to_owned(),
        min_free: 0,
        inline_body: 4096,
    });
    let mut small = config();
    small.limits.session.message_size = 200_000;
    let world = start(store.expect("a store"), small);
    let mut client = world.greeted(FRIEND).await;
    client.begin("user@dest.test").await;
    let mess = directory.path().join("mess");
    for (files, body) in [(1, 6_000), (0, 12_000)] {
        client.send(&b"0123456789abcdef\r\n".repeat(body)).await;
        let written = async {
            while std::fs::read_dir(&mess).expect("the spool").count() != files {
                tokio::task::yield_now().await;
            }
        };
        soon(written).await;
    }
    assert!(client.command(".").await.starts_with("552 5.3.4"));
    world.stopped().await;
}
