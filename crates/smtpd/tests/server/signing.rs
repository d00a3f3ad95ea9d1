//! Which mail is signed, and which text the signature covers.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use relay_dkim::{
    Algorithm, Canonicalization, Decision, GeneratedKey, HeaderList, PrivateKey, Signer,
    SigningEntry,
};
use relay_queue::MemoryStore;
use relay_smtpd::{Role, ServerConfig};

use crate::log::Log;
use crate::world::{EXTERNAL, FRIEND, World, config, content, start};

const OURS: &str = "From: a@sender.test\r\nSubject: t\r\n\r\nhello\r\n";

fn signer(algorithms: &[Algorithm]) -> Arc<Signer> {
    let entries = algorithms.iter().map(|&algorithm| {
        let key = GeneratedKey::generate(algorithm).expect("a key");
        SigningEntry {
            domain: "sender.test".parse().expect("a domain"),
            selector: algorithm.as_str().parse().expect("a selector"),
            key: PrivateKey::from_pem(key.pem().as_bytes()).expect("a key"),
            subdomains: false,
            headers: HeaderList::default(),
            body: Canonicalization::Relaxed,
            expire: None,
        }
    });
    Arc::new(Signer::new(entries).expect("a table"))
}

fn world(signer: &Arc<Signer>) -> World<MemoryStore> {
    let config = ServerConfig {
        signer: Arc::clone(signer),
        ..config()
    };
    start(MemoryStore::new(), config)
}

/// The last message as it is sent: its signatures, and everything after them.
async fn signed(world: &World<MemoryStore>) -> (String, Vec<u8>) {
    let (head, body) = content(&*world.store, &world.last()).await;
    let end = head.find("Received: ").expect("a trace header");
    let (signatures, head) = head.split_at(end);
    (signatures.to_owned(), [head.as_bytes(), &body].concat())
}

/// Signs this message again at the time that its signatures name. Both algorithms give the same
/// octets for the same input, so this compares the signed text with the text that is sent.
fn expected(signer: &Signer, signatures: &str, message: &[u8]) -> String {
    let time = signatures
        .split("t=")
        .nth(1)
        .and_then(|t| t.split(';').next());
    let time: u64 = time.and_then(|t| t.parse().ok()).expect("a time");
    let end = memchr::memmem::find(message, b"\r\n\r\n").expect("an empty line");
    let Decision::Sign(mut signing) = signer.decide(&message[..end + 2]) else {
        panic!("not ours: {}", String::from_utf8_lossy(message));
    };
    signing.write(&message[end + 4..]);
    let signatures = signing.finish(UNIX_EPOCH + Duration::from_secs(time));
    String::from_utf8(signatures.expect("a signature")).expect("text")
}

#[tokio::test]
async fn mail_of_our_clients_is_signed_as_it_is_sent() {
    let signer = signer(&[Algorithm::Rsa, Algorithm::Ed25519]);
    let world = world(&signer);
    let long = format!("{OURS}{}", "a line of text  \r\n".repeat(50_000));
    for (role, message) in [
        (Role::Mx, OURS),
        // It gets a Date and a Message-ID, which are signed with the rest.
        (Role::Submission, OURS),
        (Role::Mx, &long),
        (Role::Mx, "From: a@sender.test\r\n\r\n"),
        (Role::Mx, "From: a@sender.test\r\n"),
        // An empty line must end the header section, or verifiers would disagree on where it ends.
        (Role::Mx, "From: a@sender.test\r\nno field\r\nX: y\r\n"),
    ] {
        let mut client = world.greeted_at(role, FRIEND).await;
        client.begin("user@dest.test").await;
        client.expect(&format!("{message}."), "250").await;
        let (signatures, message) = signed(&world).await;
        let count = signatures.matches("DKIM-Signature: ").count();
        assert_eq!(count, 2, "{signatures}");
        let text = String::from_utf8_lossy(&message[..message.len().min(1000)]).into_owned();
        assert_eq!(text.contains("Message-ID: "), role == Role::Submission);
        let message = match memchr::memmem::find(&message, b"\r\n\r\n") {
            Some(_) => message,
            None => [&message[..], b"\r\n"].concat(),
        };
        assert_eq!(
            signatures,
            expected(&signer, &signatures, &message),
            "{text}"
        );
    }
    world.stopped().await;
}

#[tokio::test]
async fn mail_of_external_clients_and_of_other_domains_is_not_signed() {
    let log = Log::kept();
    let world = world(&signer(&[Algorithm::Ed25519]));
    let mut external = world.greeted(EXTERNAL).await;
    external.begin("user@local.test").await;
    external.expect(&format!("{OURS}."), "250").await;
    assert_eq!(signed(&world).await.0, "");
    let mut friend = world.greeted(FRIEND).await;
    for (from, reason) in [
        (
            "From: a@else.test\r\n",
            "else.test is not in the signing table",
        ),
        ("", "it has no From field"),
    ] {
        friend
            .submit(&format!("{from}Subject: t\r\n\r\nhello"))
            .await;
        assert_eq!(signed(&world).await.0, "");
        log.has(&["event=\"dkim\"", reason]).await;
    }
    world.stopped().await;
}
