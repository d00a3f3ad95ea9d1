//! Mail from the relay's own domains is signed, and no other mail.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use relay_testkit::{Certificate, DkimVerifier, FakeMx};
use relay_tests::Relay;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

const MESSAGE: &[u8] = b"From: App <a@sender.test>\r\nTo: u@dest.test\r\nSubject: t\r\n\r\n\
    hello  world \r\n\r\n\r\n";
/// The client's address may not relay, so it is an external client.
const EXTERNAL_CLIENTS: &str = "[relay]\nnetworks = []\ndomains = [\"dest.test\"]\n";

fn smarthost(mx: &FakeMx) -> String {
    let port = mx.address().port();
    format!("[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {port}\ntls = \"none\"\n")
}

fn signs_with(domain: &str, selector: &str) -> String {
    format!(
        "[[dkim]]\ndomain = \"{domain}\"\nselector = \"{selector}\"\nkey = \"DIR/{selector}.pem\"\n"
    )
}

/// Makes a key for the relay and publishes its record.
fn genkey(
    relay: &Relay,
    domain: &str,
    selector: &str,
    algorithm: &str,
    verifier: &mut DkimVerifier,
) {
    let file = relay.path(&format!("{selector}.pem"));
    let made = relay.done(&[
        "--json",
        "dkim",
        "genkey",
        "--domain",
        domain,
        "--selector",
        selector,
        "--algorithm",
        algorithm,
        "--out",
        &file.display().to_string(),
    ]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let text = |key: &str| made["record"][key].as_str().expect(key).to_owned();
    verifier.publish(&text("name"), &text("value"));
}

/// Returns the signatures of the n-th message, from the top down: the selector, and whether it
/// verifies.
async fn signatures(mx: &FakeMx, verifier: &DkimVerifier, n: usize) -> Vec<(String, bool)> {
    let arrived = mx.wait_for_messages(n).await.remove(n - 1);
    let passes = verifier.verify(&arrived.data).await;
    let text = String::from_utf8_lossy(&arrived.data);
    let selectors = text.split("DKIM-Signature: ").skip(1).map(|signature| {
        let rest = signature.split("s=").nth(1).expect("a selector");
        rest.split(';').next().expect("an end").to_owned()
    });
    let selectors: Vec<String> = selectors.collect();
    assert_eq!(selectors.len(), passes.len(), "{text}");
    selectors.into_iter().zip(passes).collect()
}

fn good(selectors: &[&str]) -> Vec<(String, bool)> {
    let good = |selector: &&str| ((*selector).to_owned(), true);
    selectors.iter().map(good).collect()
}

#[tokio::test]
async fn a_message_is_signed_once_with_all_keys_despite_several_attempts() {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "450 4.2.0 later");
    let table = [
        signs_with("sender.test", "rsa"),
        signs_with("sender.test", "ed"),
    ];
    let mut relay = Relay::prepare(&format!("{}{}", table.concat(), smarthost(&mx)));
    let mut verifier = DkimVerifier::default();
    genkey(&relay, "sender.test", "rsa", "rsa", &mut verifier);
    genkey(&relay, "sender.test", "ed", "ed25519", &mut verifier);
    relay.restart();
    relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    relay.wait_for_log(": deferral: ").await;
    mx.behave();
    let found = signatures(&mx, &verifier, 1).await;
    assert_eq!(found, good(&["rsa", "ed"]));
    relay.wait_until_empty().await;
}

#[tokio::test]
async fn a_large_message_is_signed_while_it_is_received() {
    let mx = FakeMx::start().await;
    let table = signs_with("sender.test", "ed");
    let mut relay = Relay::prepare(&format!("{table}{}", smarthost(&mx)));
    let mut verifier = DkimVerifier::default();
    genkey(&relay, "sender.test", "ed", "ed25519", &mut verifier);
    relay.restart();
    let long = [MESSAGE, "a line of text  \r\n".repeat(200_000).as_bytes()].concat();
    relay.send("a@sender.test", &["u@dest.test"], &long).await;
    assert_eq!(signatures(&mx, &verifier, 1).await, good(&["ed"]));
}

#[tokio::test]
async fn a_bounce_of_the_relay_is_signed() {
    let mx = FakeMx::start().await;
    mx.on("rcpt u@dest.test", "550 5.1.1 no such user");
    let table = signs_with("relay.test", "own");
    let mut relay = Relay::prepare(&format!("{table}{}", smarthost(&mx)));
    let mut verifier = DkimVerifier::default();
    genkey(&relay, "relay.test", "own", "rsa", &mut verifier);
    relay.restart();
    relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    assert_eq!(signatures(&mx, &verifier, 1).await, good(&["own"]));
    let bounce = mx.wait_for_messages(1).await.remove(0);
    assert!(bounce.mail.starts_with("<>"), "{}", bounce.mail);
}

#[tokio::test]
async fn mail_of_users_and_local_programs_is_signed_and_external_mail_is_not() {
    let mx = FakeMx::start().await;
    let mut relay = Relay::prepare(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"submission\"\n\
         [[listener]]\naddress = \"unix:DIR/submit.sock\"\nrole = \"submission\"\n\
         [tls]\ncertificate = \"DIR/cert.pem\"\nkey = \"DIR/key.pem\"\n\
         [auth]\nusers = \"DIR/users\"\n{EXTERNAL_CLIENTS}{}{}",
        signs_with("sender.test", "ed"),
        smarthost(&mx)
    ));
    let certificate = Certificate::for_names(&["relay.test"]);
    relay.write("key.pem", &certificate.key_pem());
    relay.write("cert.pem", &certificate.pem());
    relay.add_user("app", "s3cret", &[]);
    let mut verifier = DkimVerifier::default();
    genkey(&relay, "sender.test", "ed", "ed25519", &mut verifier);
    relay.restart();

    relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    assert_eq!(signatures(&mx, &verifier, 1).await, []);

    let user = relay.connect_as("submission").await;
    let user = user.start_tls("relay.test", &certificate.pem()).await;
    let mut user = user.expect("our certificate");
    assert!(user.login("app", "s3cret").await.starts_with("235 "));
    let sent = user.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    sent.expect("a 250");
    assert_eq!(signatures(&mx, &verifier, 2).await, good(&["ed"]));

    submit_locally(&relay).await;
    assert_eq!(signatures(&mx, &verifier, 3).await, good(&["ed"]));

    let foreign = String::from_utf8_lossy(MESSAGE).replace("a@sender.test", "a@else.test");
    let sent = user.send("a@sender.test", &["u@dest.test"], foreign.as_bytes());
    sent.await.expect("a 250");
    assert_eq!(signatures(&mx, &verifier, 4).await, []);
}

/// Sends the message over the socket for local programs.
async fn submit_locally(relay: &Relay) {
    let stream = UnixStream::connect(relay.path("submit.sock")).await;
    let mut stream = BufReader::new(stream.expect("a socket"));
    let content = [MESSAGE, b".\r\n"].concat();
    for sent in [
        &b""[..],
        b"HELO client.test\r\n",
        b"MAIL FROM:<a@sender.test>\r\n",
        b"RCPT TO:<u@dest.test>\r\n",
        b"DATA\r\n",
        &content,
    ] {
        stream.write_all(sent).await.expect("it listens");
        let mut reply = String::new();
        stream.read_line(&mut reply).await.expect("a reply");
        assert!(reply.starts_with(['2', '3']), "{reply}");
    }
}

#[tokio::test]
async fn keys_are_read_again_and_a_key_that_others_can_read_is_rejected() {
    let mx = FakeMx::start().await;
    let configuration =
        |selector| format!("{}{}", signs_with("sender.test", selector), smarthost(&mx));
    let mut relay = Relay::prepare(&configuration("one"));
    let mut verifier = DkimVerifier::default();
    for selector in ["one", "two", "open"] {
        genkey(&relay, "sender.test", selector, "ed25519", &mut verifier);
    }
    relay.restart();
    let send = async || relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    send().await;
    assert_eq!(signatures(&mx, &verifier, 1).await, good(&["one"]));

    relay.configure(&configuration("two"));
    relay.done(&["reload"]);
    send().await;
    assert_eq!(signatures(&mx, &verifier, 2).await, good(&["two"]));

    let open = relay.path("open.pem");
    fs::set_permissions(&open, Permissions::from_mode(0o644)).expect("ours");
    relay.configure(&configuration("open"));
    let reload = relay.ctl(&["reload"]);
    assert_eq!(reload.status.code(), Some(1));
    let said = String::from_utf8_lossy(&reload.stderr).into_owned();
    let mend = format!("chmod 600 {}", open.display());
    assert!(
        said.contains("relayd.toml:") && said.contains(&mend),
        "{said}"
    );
    send().await;
    let still = signatures(&mx, &verifier, 3).await;
    assert_eq!(still, good(&["two"]), "the last valid table");

    fs::set_permissions(&open, Permissions::from_mode(0o600)).expect("ours");
    relay.done(&["reload"]);
    send().await;
    assert_eq!(signatures(&mx, &verifier, 4).await, good(&["open"]));
}

#[tokio::test]
async fn a_rewritten_message_is_signed_in_its_final_form() {
    let mx = FakeMx::start().await;
    let mut relay = Relay::prepare(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"submission\"\n\
         [rewrite]\ndomain = \"sender.test\"\nfrom = [[\"root@*\", \"ops@sender.test\"]]\n{}{}",
        signs_with("sender.test", "ed"),
        smarthost(&mx)
    ));
    let mut verifier = DkimVerifier::default();
    genkey(&relay, "sender.test", "ed", "ed25519", &mut verifier);
    relay.restart();
    let mut client = relay.connect_as("submission").await;
    let message = b"From: Cron Daemon <root>\r\nTo: u@dest.test\r\n\r\nhello\r\n";
    let sent = client.send("root", &["u@dest.test"], message).await;
    sent.expect("a 250");
    assert_eq!(signatures(&mx, &verifier, 1).await, good(&["ed"]));
    let arrived = mx.wait_for_messages(1).await.remove(0);
    assert!(
        arrived.mail.starts_with("<ops@sender.test>"),
        "{}",
        arrived.mail
    );
    let text = String::from_utf8_lossy(&arrived.data);
    assert!(
        text.contains("\r\nFrom: Cron Daemon <ops@sender.test>\r\n"),
        "{text}"
    );
    assert!(
        text.contains("\r\nDate: ") && text.contains("\r\nMessage-ID: "),
        "{text}"
    );
}
