//! TLS: how it begins, which state the session forgets, and which certificate is used.

use std::sync::Arc;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use relay_queue::MemoryStore;
use relay_smtpd::{CertificatePair, Role, ServerConfig, TlsError, TlsServer, TlsSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{HandshakeKind, SignatureScheme};

use crate::under_tls::{Dialect, tls, write_pair};
use crate::world::{FRIEND, config, content, soon, start};

fn config_with_tls() -> ServerConfig {
    ServerConfig {
        tls: Some(tls(TlsSettings::default())),
        ..config()
    }
}

#[tokio::test]
async fn each_role_serves_both_tls_versions_and_names_them_in_received() {
    let world = start(MemoryStore::new(), config_with_tls());
    for role in [Role::Mx, Role::Submission, Role::Submissions] {
        for (version, name, cipher) in [
            (&TLS12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_"),
            (&TLS13, "TLSv1.3", "TLS_AES_"),
        ] {
            let dialect = Dialect::of(&[version]);
            let (mut client, offer) = world.secured(role, FRIEND, &dialect).await;
            assert!(!offer.contains("STARTTLS"), "{offer}");
            client.submit("Subject: t\r\n\r\nhello").await;
            let (head, _) = content(&*world.store, &world.last()).await;
            let clause = head.lines().find(|line| line.starts_with("\ttls "));
            let clause = clause.unwrap_or_default();
            assert!(head.contains("with ESMTPS id"), "{role:?} {head}");
            assert!(clause.contains(cipher) && clause.contains(name), "{head}");
        }
    }
    world.stopped().await;
}

#[tokio::test]
async fn starttls_is_offered_in_clear_and_only_with_a_certificate() {
    for (config, offered) in [(config(), false), (config_with_tls(), true)] {
        let world = start(MemoryStore::new(), config);
        for role in [Role::Mx, Role::Submission] {
            let mut client = world.connect_to(role, FRIEND).await;
            let offer = client.greet().await;
            assert_eq!(offer.contains("STARTTLS"), offered, "{role:?}: {offer}");
            assert!(!offer.contains("AUTH"), "{role:?}: {offer}");
            let code = if offered { "220" } else { "502" };
            client.expect("STARTTLS", code).await;
        }
        world.stopped().await;
    }
}

#[tokio::test]
async fn without_a_certificate_an_implicit_tls_port_serves_nothing_in_clear() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.connect_to(Role::Submissions, FRIEND).await;
    assert_eq!(client.reply().await, "");
    world.stopped().await;
}

#[tokio::test]
async fn input_after_starttls_is_discarded() {
    let world = start(MemoryStore::new(), config_with_tls());
    for injected in [
        "EHLO evil.test\r\n",
        "MAIL FROM:<evil@sender.test>\r\n",
        "NOOP\r\nRSET\r\nQUIT\r\n",
        "NO",
    ] {
        let mut client = world.greeted(FRIEND).await;
        client
            .send(format!("STARTTLS\r\n{injected}").as_bytes())
            .await;
        assert!(client.reply().await.starts_with("220"));
        assert!(client.0.buffer().is_empty(), "{injected:?} was answered");
        let stream = client.0.into_inner();
        let secured = Dialect::default().shake_hands("relay.test", stream).await;
        let mut client = secured.expect("TLS");
        // The first reply is for the first command under TLS. Nothing from before is remembered.
        client.expect("MAIL FROM:<a@b.test>", "503").await;
        client.expect("NOOP", "250").await;
    }
    world.stopped().await;
}

#[tokio::test]
async fn commands_in_clear_are_forgotten_under_tls() {
    let world = start(MemoryStore::new(), config_with_tls());
    let mut client = world.greeted(FRIEND).await;
    client.expect("MAIL FROM:<a@b.test>", "250").await;
    client.expect("RCPT TO:<user@dest.test>", "250").await;
    let mut client = client.secured("relay.test", &Dialect::default()).await;
    for (line, reply) in [
        ("RCPT TO:<user@dest.test>", "503"),
        ("DATA", "503"),
        ("MAIL FROM:<a@b.test>", "503"),
        ("EHLO client.test", "250"),
        ("STARTTLS", "503"),
        ("MAIL FROM:<a@b.test>", "250"),
    ] {
        client.expect(line, reply).await;
    }
    world.stopped().await;
}

#[tokio::test]
async fn an_invalid_handshake_ends_only_its_own_connection() {
    let world = start(MemoryStore::new(), config_with_tls());
    for garbage in [
        &b"EHLO client.test\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x80\x2e\x01\x00\x02",
    ] {
        let mut at_once = world.connect_to(Role::Submissions, FRIEND).await;
        let mut upgraded = world.greeted(FRIEND).await;
        upgraded.expect("STARTTLS", "220").await;
        for client in [&mut at_once, &mut upgraded] {
            client.send(garbage).await;
            // The client closes its side, so the server knows that no more will come.
            client
                .0
                .get_mut()
                .shutdown()
                .await
                .expect("a live connection");
            let mut rest = Vec::new();
            // A reset also ends the connection.
            let _ = soon(client.0.read_to_end(&mut rest)).await;
            assert!(rest.is_empty() || rest[0] == 0x15, "no alert: {rest:?}");
        }
    }
    world.secured(Role::Mx, FRIEND, &Dialect::default()).await;
    world.stopped().await;
}

#[tokio::test]
async fn a_session_under_tls_ends_with_close_notify() {
    let world = start(MemoryStore::new(), config_with_tls());
    let (mut client, _) = world.secured(Role::Mx, FRIEND, &Dialect::default()).await;
    client.expect("QUIT", "221").await;
    let end = soon(client.0.read(&mut [0])).await;
    assert_eq!(end.expect("close_notify, and no reset"), 0);
    world.stopped().await;
}

#[tokio::test]
async fn sessions_are_resumed_only_if_tickets_are_enabled() {
    for session_tickets in [false, true] {
        let with_tickets = ServerConfig {
            tls: Some(tls(TlsSettings { session_tickets })),
            ..config()
        };
        let world = start(MemoryStore::new(), with_tickets);
        for version in [&TLS12, &TLS13] {
            let dialect = Dialect::of(&[version]);
            let mut kinds = Vec::new();
            for _ in 0..2 {
                // The reply to EHLO comes after all tickets.
                let (client, _) = world.secured(Role::Mx, FRIEND, &dialect).await;
                let connection = client.0.get_ref().get_ref().1;
                kinds.push(connection.handshake_kind());
                let tickets = connection.tls13_tickets_received();
                assert!(session_tickets || tickets == 0, "{tickets} tickets");
            }
            let second = if session_tickets {
                HandshakeKind::Resumed
            } else {
                HandshakeKind::Full
            };
            assert_eq!(kinds, [Some(HandshakeKind::Full), Some(second)]);
        }
        world.stopped().await;
    }
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name_and_by_kind_of_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let pair = |stem, name, algorithm| write_pair(directory.path(), stem, &[name], algorithm);
    let (elliptic, by_curve) = pair("ec", "relay.test", &PKCS_ECDSA_P256_SHA256);
    let (rsa, by_rsa) = pair("rsa", "relay.test", &PKCS_RSA_SHA256);
    let (wild, by_star) = pair("wild", "*.other.test", &PKCS_ECDSA_P256_SHA256);
    let (exact, by_name) = pair("exact", "mx.other.test", &PKCS_ECDSA_P256_SHA256);
    let server = TlsServer::new(&[elliptic, rsa, wild, exact], TlsSettings::default());
    let several = ServerConfig {
        tls: Some(Arc::new(server.expect("good pairs"))),
        ..config()
    };
    let world = start(MemoryStore::new(), several);
    let curve = [SignatureScheme::ECDSA_NISTP256_SHA256];
    let rsa = [SignatureScheme::RSA_PSS_SHA256];
    let both = [curve[0], rsa[0]];
    for version in [&TLS12, &TLS13] {
        for (name, schemes, shown) in [
            ("relay.test", &both[..], &by_curve),
            ("RELAY.test", &curve, &by_curve),
            ("relay.test", &rsa, &by_rsa),
            ("mx.other.test", &both, &by_name),
            ("a.other.test", &curve, &by_star),
            ("a.other.test", &rsa, &by_rsa),
            ("unknown.test", &both, &by_curve),
            ("127.0.0.1", &both, &by_curve),
        ] {
            let dialect = Dialect::with(&[version], schemes);
            let client = world.greeted(FRIEND).await.secured(name, &dialect).await;
            let connection = client.0.get_ref().get_ref().1;
            let certificates = connection.peer_certificates().expect("a certificate");
            assert!(&certificates[0] == shown, "{name} {schemes:?}");
        }
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_new_certificate_applies_to_new_sessions_and_old_ones_continue() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = || {
        let algorithm = &PKCS_ECDSA_P256_SHA256;
        write_pair(directory.path(), "relay", &["relay.test"], algorithm)
    };
    let read = |pair| TlsServer::new(&[pair], TlsSettings::default()).map(Arc::new);
    let with = |server| ServerConfig {
        tls: Some(server),
        ..config()
    };
    let (pair, first) = write();
    let old = read(pair).expect("a good pair");
    let world = start(MemoryStore::new(), with(Arc::clone(&old)));
    let dialect = Dialect::default();
    let (mut session, _) = world.secured(Role::Mx, FRIEND, &dialect).await;

    let (pair, second) = write();
    let new = read(pair).expect("a good pair");
    assert_eq!(old.certificates()[0].names, ["relay.test"]);
    world.config.send(Arc::new(with(new))).expect("a server");
    for (client, shown) in [
        (&session, &first),
        (
            &world.secured(Role::Submissions, FRIEND, &dialect).await.0,
            &second,
        ),
    ] {
        let certificates = client.0.get_ref().get_ref().1.peer_certificates();
        assert!(&certificates.expect("a certificate")[0] == shown);
    }
    session.expect("NOOP", "250").await;
    world.stopped().await;
}

#[test]
fn an_unusable_pair_is_reported_with_file_and_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let pair = |stem| {
        let names = ["relay.test"];
        write_pair(directory.path(), stem, &names, &PKCS_ECDSA_P256_SHA256).0
    };
    let (good, other) = (pair("good"), pair("other"));
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let text = std::fs::read_to_string(&good.certificate).expect("a file");
    let broken = file("broken.pem", &text.replace("MII", "MIJ"));
    let empty = file("empty.pem", "");
    let garbage = file("garbage.pem", "-----BEGIN CERTIFICATE-----\n!\n");
    let missing = directory.path().join("missing.pem");
    let CertificatePair { certificate, key } = &good;
    for (certificate, key, file, reason) in [
        (&missing, key, &missing, "cannot read"),
        (certificate, &missing, &missing, "cannot read"),
        (&empty, key, &empty, "no certificate"),
        (&garbage, key, &garbage, "cannot read"),
        (&broken, key, &broken, "cannot be read"),
        (key, key, key, "no certificate"),
        (certificate, &empty, &empty, "no private key"),
        (certificate, certificate, certificate, "no private key"),
        (certificate, &other.key, &other.key, "does not belong"),
    ] {
        let pair = CertificatePair {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let error = TlsServer::new(&[pair], TlsSettings::default());
        let text = error.expect_err("a bad pair").to_string();
        let names_file = text.contains(&file.display().to_string());
        assert!(names_file && text.contains(reason), "{text}");
    }
    let none = TlsServer::new(&[], TlsSettings::default());
    assert!(matches!(none, Err(TlsError::NoPair)));
}
