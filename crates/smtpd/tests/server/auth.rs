//! AUTH: who can log in, and how long password guessing takes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use relay_queue::MemoryStore;
use relay_smtpd::{Role, ServerConfig, TlsSettings};

use crate::accounts::{Accounts, How, encoded};
use crate::log::Log;
use crate::under_tls::{Dialect, Secured, tls};
use crate::world::{EXTERNAL, World, config, content, start};

/// A server with one user, `app`, whose password is `s3cret`.
fn config_with(accounts: &Arc<Accounts>) -> ServerConfig {
    ServerConfig {
        tls: Some(tls(TlsSettings::default())),
        users: Some(Arc::clone(accounts) as _),
        ..config()
    }
}

fn world() -> (World<MemoryStore>, Arc<Accounts>) {
    let accounts = Accounts::with("app", "s3cret");
    let world = start(MemoryStore::new(), config_with(&accounts));
    (world, accounts)
}

async fn client_under_tls(world: &World<MemoryStore>, from: Ipv4Addr) -> Secured {
    let dialect = Dialect::default();
    world.secured(Role::Submission, from, &dialect).await.0
}

#[tokio::test]
async fn each_mechanism_lets_a_user_relay_at_each_listener() {
    let (world, _) = world();
    for role in [Role::Mx, Role::Submission, Role::Submissions] {
        for how in How::ALL {
            let dialect = Dialect::default();
            let (mut client, offer) = world.secured(role, EXTERNAL, &dialect).await;
            assert!(offer.contains("AUTH PLAIN LOGIN SCRAM-SHA-256"), "{offer}");
            let reply = client.log_in(how, "app", "s3cret").await;
            assert!(reply.starts_with("235 2.7.0"), "{role:?} {how:?}: {reply}");
            client.submit("Subject: t\r\n\r\nhello").await;
            let (head, _) = content(&*world.store, &world.last()).await;
            assert!(head.contains("with ESMTPSA id"), "{head}");
        }
    }
    world.stopped().await;
}

#[tokio::test]
async fn auth_is_neither_offered_nor_accepted_in_clear() {
    let (world, _) = world();
    for role in [Role::Mx, Role::Submission] {
        let mut client = world.connect_to(role, EXTERNAL).await;
        let offer = client.greet().await;
        assert!(!offer.contains("AUTH"), "{offer}");
        for how in How::ALL {
            let reply = client.log_in(how, "app", "s3cret").await;
            assert!(reply.starts_with("538 5.7.11"), "{how:?}: {reply}");
        }
    }
    world.stopped().await;
}

#[tokio::test]
async fn auth_is_not_offered_without_users() {
    let without_users = ServerConfig {
        tls: Some(tls(TlsSettings::default())),
        ..config()
    };
    let world = start(MemoryStore::new(), without_users);
    let dialect = Dialect::default();
    let (mut client, offer) = world.secured(Role::Mx, EXTERNAL, &dialect).await;
    assert!(!offer.contains("AUTH"), "{offer}");
    let reply = client.log_in(How::PlainAtOnce, "app", "s3cret").await;
    assert!(reply.starts_with("502"), "{reply}");
    world.stopped().await;
}

#[tokio::test]
async fn a_login_happens_once_and_applies_only_to_its_session() {
    let (world, _) = world();
    let mut client = client_under_tls(&world, EXTERNAL).await;
    let reply = client.log_in(How::Plain, "app", "s3cret").await;
    assert!(reply.starts_with("235"), "{reply}");
    for how in How::ALL {
        let reply = client.log_in(how, "app", "s3cret").await;
        assert!(reply.starts_with("503"), "{how:?}: {reply}");
    }
    let mut other = client_under_tls(&world, EXTERNAL).await;
    other.expect("MAIL FROM:<app@sender.test>", "530").await;
    world.stopped().await;
}

#[tokio::test]
async fn a_challenge_does_not_reveal_which_users_exist() {
    let (world, _) = world();
    let mut challenges = Vec::new();
    for user in ["nobody", "nobody", "somebody"] {
        let mut client = client_under_tls(&world, EXTERNAL).await;
        let first = encoded(&format!("n,,n={user},r=client"));
        let reply = client.command(&format!("AUTH SCRAM-SHA-256 {first}")).await;
        let challenge = reply.strip_prefix("334 ").expect("a challenge").trim_end();
        let challenge = relay_smtp::sasl::base64::decode(challenge.as_bytes());
        let challenge = String::from_utf8(challenge.expect("base64").to_vec());
        let challenge = challenge.expect("text");
        let (nonce, rest) = challenge.split_once(',').expect("attributes");
        challenges.push((nonce.to_owned(), rest.to_owned()));
    }
    let [(nonce, salt), (other_nonce, same_salt), (_, other_salt)] = &challenges[..] else {
        panic!("three challenges");
    };
    assert!(nonce != other_nonce && salt == same_salt && salt != other_salt);
    assert!(salt.ends_with(",i=100000"), "{salt}");
    world.stopped().await;
}

#[tokio::test]
async fn all_unicode_forms_of_a_password_are_accepted() {
    let (world, accounts) = world();
    accounts.set("app", "cafe\u{301}\u{a0}x", &[]);
    for how in How::ALL {
        for password in ["cafe\u{301}\u{a0}x", "caf\u{e9} x"] {
            let mut client = client_under_tls(&world, EXTERNAL).await;
            let reply = client.log_in(how, "app", password).await;
            assert!(reply.starts_with("235"), "{how:?} {password}: {reply}");
        }
    }
    world.stopped().await;
}

#[tokio::test]
async fn the_log_shows_user_mechanism_and_result_but_no_password() {
    let (world, accounts) = world();
    let log = Log::kept();
    let (good, bad) = ("s3cret", "gu3ssed");
    let mechanisms = [
        (How::Plain, "PLAIN", "plain"),
        (How::Login, "LOGIN", "login"),
        (How::Scram, "SCRAM-SHA-256", "scram"),
    ];
    // Each login is for another user, so that no failure delays the next one.
    for (how, mechanism, user) in mechanisms {
        accounts.set(user, good, &[]);
        let mut client = client_under_tls(&world, EXTERNAL).await;
        client.log_in(how, user, bad).await;
        client.log_in(how, user, good).await;
        client.submit("Subject: t\r\n\r\nhello").await;
        for result in ["ok", "failed"] {
            let line = format!("auth {result}: {user} from [127.0.0.9] by {mechanism}");
            log.has(&[&line]).await;
        }
    }
    // A response that is not expected is an unknown command.
    let mut client = client_under_tls(&world, EXTERNAL).await;
    client.expect(&encoded(good), "500").await;
    let line = format!("AUTH PLAIN {} x", encoded(good));
    client.expect(&line, "501").await;
    let mut in_clear = world.greeted(EXTERNAL).await;
    in_clear.log_in(How::PlainAtOnce, "plain", good).await;
    log.has(&["refused AUTH", "538"]).await;

    let text = log.text();
    for secret in [good, bad] {
        let plain = encoded(&format!("\0plain\0{secret}"));
        for form in [secret.to_owned(), encoded(secret), plain] {
            assert!(!text.contains(&form), "{form} in {text}");
        }
    }
    let (head, _) = content(&*world.store, &world.last()).await;
    assert!(!head.contains("scram") && !head.contains(good), "{head}");
    world.stopped().await;
}
