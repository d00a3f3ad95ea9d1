//! Who may send what to whom, by listener and login, and the fields that are added to a submitted
//! message.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use relay_queue::MemoryStore;
use relay_smtpd::{Role, ServerConfig, TemporaryRelay, TlsSettings};

use crate::accounts::{Accounts, How};
use crate::log::Log;
use crate::under_tls::{Dialect, Secured, tls};
use crate::world::{EXTERNAL, FRIEND, World, config, content, start};

const FROM: &str = "MAIL FROM:<app@sender.test>";
const ELSEWHERE: &str = "RCPT TO:<user@dest.test>";

fn config_with(accounts: &Arc<Accounts>) -> ServerConfig {
    ServerConfig {
        tls: Some(tls(TlsSettings::default())),
        users: Some(Arc::clone(accounts) as _),
        ..config()
    }
}

fn world() -> World<MemoryStore> {
    let accounts = Accounts::with("app", "s3cret");
    start(MemoryStore::new(), config_with(&accounts))
}

async fn logged_in(world: &World<MemoryStore>, role: Role, user: &str) -> Secured {
    let dialect = Dialect::default();
    let (mut client, _) = world.secured(role, EXTERNAL, &dialect).await;
    let reply = client.log_in(How::PlainAtOnce, user, "s3cret").await;
    assert!(reply.starts_with("235"), "{reply}");
    client
}

#[tokio::test]
async fn an_external_client_submits_nothing_without_a_login() {
    let world = world();
    let mut client = world.greeted_at(Role::Submission, EXTERNAL).await;
    let reply = client.command(FROM).await;
    assert!(reply.starts_with("530 5.7.0 STARTTLS first"), "{reply}");
    client.expect(ELSEWHERE, "503").await;
    for role in [Role::Submission, Role::Submissions] {
        let dialect = Dialect::default();
        let (mut client, _) = world.secured(role, EXTERNAL, &dialect).await;
        let reply = client.command(FROM).await;
        assert!(
            reply.starts_with("530 5.7.0 authentication required"),
            "{reply}"
        );
        client.expect("RCPT TO:<user@local.test>", "503").await;
        let reply = client.log_in(How::PlainAtOnce, "app", "s3cret").await;
        assert!(reply.starts_with("235"), "{reply}");
        client.expect(FROM, "250").await;
        client.expect(ELSEWHERE, "250").await;
    }
    world.stopped().await;
}

#[tokio::test]
async fn an_external_client_reaches_our_domains_at_the_mx_and_others_after_a_login() {
    let world = world();
    let dialect = Dialect::default();
    let (mut client, _) = world.secured(Role::Mx, EXTERNAL, &dialect).await;
    client.expect(FROM, "250").await;
    client.expect(ELSEWHERE, "553 5.7.1").await;
    client.expect("RCPT TO:<user@local.test>", "250").await;
    let mut user = logged_in(&world, Role::Mx, "app").await;
    user.expect(FROM, "250").await;
    user.expect(ELSEWHERE, "250").await;
    // The operator's other rules also apply to a user who has logged in.
    user.expect("RSET", "250").await;
    user.expect("MAIL FROM:<x@bad.test>", "553 5.7.1").await;
    world.stopped().await;
}

#[tokio::test]
async fn a_client_that_may_relay_needs_no_login_anywhere() {
    let world = world();
    for role in [Role::Mx, Role::Submission] {
        let mut client = world.greeted_at(role, FRIEND).await;
        client.expect(FROM, "250").await;
        client.expect(ELSEWHERE, "250").await;
    }
    let dialect = Dialect::default();
    let (mut client, _) = world.secured(Role::Submissions, FRIEND, &dialect).await;
    client.expect(FROM, "250").await;
    client.expect(ELSEWHERE, "250").await;
    world.stopped().await;
}

/// Lets one client relay while it is set.
#[derive(Debug)]
struct Switch(IpAddr, AtomicBool);

impl TemporaryRelay for Switch {
    fn may_relay(&self, client: IpAddr) -> bool {
        client == self.0 && self.1.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_grant_applies_only_to_its_client_and_until_it_ends() {
    let switch = Arc::new(Switch(EXTERNAL.into(), AtomicBool::new(false)));
    let with_grants = ServerConfig {
        temporary_relay: Arc::clone(&switch) as _,
        ..config()
    };
    let world = start(MemoryStore::new(), with_grants);
    let mut at_mx = world.greeted(EXTERNAL).await;
    at_mx.expect(FROM, "250").await;
    let mut submitting = world.greeted_at(Role::Submission, EXTERNAL).await;
    let mut other = world
        .greeted_at(Role::Submission, Ipv4Addr::new(127, 0, 0, 10))
        .await;
    for (granted, relayed, sent) in [
        (false, "553", "530"),
        (true, "250", "250"),
        (false, "553", "530"),
    ] {
        switch.1.store(granted, Ordering::SeqCst);
        at_mx.expect(ELSEWHERE, relayed).await;
        submitting.expect(FROM, sent).await;
        submitting.expect("RSET", "250").await;
        other.expect(FROM, "530").await;
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_user_may_use_only_the_senders_bound_to_them() {
    let accounts = Accounts::with("free", "s3cret");
    accounts.set("bound", "s3cret", &["*@shop.test", "boss@sender.test"]);
    let world = start(MemoryStore::new(), config_with(&accounts));
    for role in [Role::Mx, Role::Submission, Role::Submissions] {
        for (user, sender, reply) in [
            ("free", "any@any.test", "250"),
            ("bound", "any@SHOP.test", "250"),
            ("bound", "Boss@sender.test", "250"),
            (
                "bound",
                "app@sender.test",
                "553 5.7.1 sorry, you may not send as",
            ),
            (
                "bound",
                "any@sub.shop.test",
                "553 5.7.1 sorry, you may not send as",
            ),
            // The null sender, as in receipts and bounces.
            ("bound", "", "250"),
        ] {
            let mut client = logged_in(&world, role, user).await;
            client.expect(&format!("MAIL FROM:<{sender}>"), reply).await;
        }
    }
    // New limits on senders apply to a session that has already begun.
    let mut client = logged_in(&world, Role::Submission, "free").await;
    accounts.set("free", "s3cret", &["@shop.test"]);
    client.expect(FROM, "553 5.7.1").await;
    world.stopped().await;
}

#[tokio::test]
async fn missing_fields_are_added_only_to_submitted_mail() {
    let world = world();
    let all = "From: a@c.test\r\nDate: Sun, 06 Nov 1994 08:49:37 +0000\r\nMessage-ID: <i@c.test>\r\n\r\nhello";
    let none = "Subject: t\r\n\r\nDate: no field\r\nhello";
    let dialect = Dialect::default();
    for (role, logs_in, text, added) in [
        (Role::Submission, false, none, true),
        (Role::Submissions, true, none, true),
        (Role::Mx, true, none, true),
        (Role::Mx, false, none, false),
        (Role::Submission, false, all, false),
    ] {
        let mut client = if logs_in {
            logged_in(&world, role, "app").await
        } else {
            world.secured(role, FRIEND, &dialect).await.0
        };
        client.submit(text).await;
        let message = world.last();
        let (head, body) = content(&*world.store, &message).await;
        assert_eq!(body, format!("{text}\r\n").into_bytes());
        let (id, lines) = (message.id, head.lines());
        let own = format!("Message-ID: <{id}@relay.test>");
        let fields: Vec<_> = lines.filter(|line| !line.starts_with('\t')).collect();
        assert_eq!(fields.len(), if added { 4 } else { 1 }, "{head}");
        assert_eq!(fields.contains(&"From: app@sender.test"), added, "{head}");
        assert_eq!(fields.contains(&own.as_str()), added, "{head}");
        let is_dated = fields.iter().any(|field| field.starts_with("Date: "));
        assert_eq!(is_dated, added, "{head}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn an_invalid_address_is_logged_as_data() {
    let world = world();
    let log = Log::kept();
    let mut client = world.greeted(EXTERNAL).await;
    client.expect("MAIL FROM:<a b@c.test>", "501").await;
    client.expect(FROM, "250").await;
    client
        .expect("RCPT TO:<x\u{1b}[2J\t y> SIZE=1", "501")
        .await;
    log.has(&["refused MAIL", "argument=\"FROM:<a b@c.test>\""])
        .await;
    // The value is quoted here, because a field is written as data, not as text of the line.
    log.has(&["refused RCPT", r#"argument="TO:<x\u{1b}[2J\t y> SIZE=1""#])
        .await;
    client.expect(ELSEWHERE, "553").await;
    log.has(&[
        "refused RCPT",
        "to=\"user@dest.test\"",
        "from=\"app@sender.test\"",
    ])
    .await;
    world.stopped().await;
}
