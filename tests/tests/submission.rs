//! Mail from users and applications: TLS, logins, and changes while the relay runs.

use relay_testkit::{Certificate, FakeMx};
use relay_tests::{Client, Relay};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const MESSAGE: &[u8] = b"Subject: t\r\n\r\nhello\r\n";

/// A certificate, users, and the two listeners for submission.
const SUBMISSION: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"submission\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"submissions\"\n\
    [tls]\ncertificate = \"DIR/cert.pem\"\nkey = \"DIR/key.pem\"\n\
    [auth]\nusers = \"DIR/users\"\n";
/// No client may relay by its address.
const EXTERNAL_CLIENTS: &str = "[relay]\nnetworks = []\n";

fn certificate(relay: &Relay) -> Certificate {
    let certificate = Certificate::for_names(&["relay.test"]);
    install(relay, &certificate);
    certificate
}

fn install(relay: &Relay, certificate: &Certificate) {
    relay.write("key.pem", &certificate.key_pem());
    relay.write("cert.pem", &certificate.pem());
}

fn smarthost(mx: &FakeMx) -> String {
    let port = mx.address().port();
    format!("[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {port}\ntls = \"none\"\n")
}

/// Starts a relay with a certificate that sends all its mail to this host. The users' password is
/// `s3cret`.
fn submission_server(mx: &FakeMx, users: &[(&str, &[&str])]) -> (Relay, Certificate) {
    let mut relay = Relay::prepare(&format!("{SUBMISSION}{EXTERNAL_CLIENTS}{}", smarthost(mx)));
    let certificate = certificate(&relay);
    for (name, senders) in users {
        relay.add_user(name, "s3cret", senders);
    }
    relay.restart();
    (relay, certificate)
}

async fn submission(relay: &Relay, certificate: &Certificate) -> Client {
    let client = relay.connect_as("submission").await;
    let client = client.start_tls("relay.test", &certificate.pem()).await;
    client.expect("our certificate")
}

async fn submissions(relay: &Relay, authority: &Certificate) -> std::io::Result<Client> {
    let client = Client::connect(relay.port("submissions")).await;
    let mut client = client.shake_hands("relay.test", &authority.pem()).await?;
    assert!(client.reply().await.starts_with("220 "));
    client.command("EHLO client.test").await;
    Ok(client)
}

#[tokio::test]
async fn a_user_submits_over_both_ports_and_the_trace_header_shows_how() {
    let mx = FakeMx::start().await;
    let (relay, certificate) = submission_server(&mx, &[("app", &[])]);
    let clients = [
        submission(&relay, &certificate).await,
        submissions(&relay, &certificate).await.expect("a session"),
    ];
    for (n, mut client) in clients.into_iter().enumerate() {
        let refused = client.command("MAIL FROM:<a@sender.test>").await;
        assert!(refused.starts_with("530 5.7.0 "), "{refused}");
        assert!(client.login("app", "s3cret").await.starts_with("235 "));
        let sent = client
            .send("a@sender.test", &["u@dest.test"], MESSAGE)
            .await;
        sent.expect("a 250");
        let arrived = mx.wait_for_messages(n + 1).await.pop().expect("a message");
        let text = String::from_utf8(arrived.data).expect("text");
        assert!(text.contains("with ESMTPSA id "), "{text}");
        assert!(
            text.contains("TLSv1.3") && text.contains("Message-ID: "),
            "{text}"
        );
    }
    relay.wait_for_log("event=auth").await;
    assert!(!relay.log().contains("s3cret"));
}

#[tokio::test]
async fn users_are_added_changed_and_removed_without_a_restart() {
    let mx = FakeMx::start().await;
    let (relay, certificate) = submission_server(&mx, &[]);
    let mut client = submission(&relay, &certificate).await;
    assert!(!client.command("EHLO c.test").await.contains("AUTH"));
    relay.add_user("app", "one", &[]);
    relay.wait_for_log("users who may log in: 1").await;
    let mut client = submission(&relay, &certificate).await;
    assert!(client.command("EHLO c.test").await.contains("AUTH"));
    assert!(client.login("app", "one").await.starts_with("235 "));

    relay.ctl_with(&["user", "passwd", "app", "--password-stdin"], "two");
    let mut client = submission(&relay, &certificate).await;
    assert!(client.login("app", "one").await.starts_with("535 "));
    assert!(client.login("app", "two").await.starts_with("235 "));

    relay.add_user("other", "three", &[]);
    relay.done(&["user", "remove", "app"]);
    let mail = client.command("MAIL FROM:<a@sender.test>").await;
    assert!(
        mail.starts_with("530 "),
        "a removed user may do nothing: {mail}"
    );
    let mut client = submission(&relay, &certificate).await;
    assert!(client.login("app", "two").await.starts_with("535 "));
    assert!(client.login("other", "three").await.starts_with("235 "));
}

#[tokio::test]
async fn a_user_may_be_limited_to_certain_senders() {
    let mx = FakeMx::start().await;
    let senders = ["*@example.org", "me@example.net"];
    let (relay, certificate) = submission_server(&mx, &[("app", &senders)]);
    let mut client = submission(&relay, &certificate).await;
    assert!(client.login("app", "s3cret").await.starts_with("235 "));
    for (sender, code) in [
        ("any@example.org", "250 "),
        ("me@example.net", "250 "),
        ("you@example.net", "553 5.7.1 "),
        ("any@sub.example.org", "553 5.7.1 "),
    ] {
        let reply = client.command(&format!("MAIL FROM:<{sender}>")).await;
        assert!(reply.starts_with(code), "{sender}: {reply}");
        client.command("RSET").await;
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_automatically_and_a_bad_one_is_not() {
    let mx = FakeMx::start().await;
    let (relay, old) = submission_server(&mx, &[]);
    let mut open = submissions(&relay, &old).await.expect("a session");
    let new = certificate(&relay);
    relay.wait_for_log("was read again and applies").await;
    submissions(&relay, &new)
        .await
        .expect("the new certificate");
    submissions(&relay, &old)
        .await
        .expect_err("not the old one");

    relay.write("cert.pem", "garbage");
    let reload = relay.ctl(&["reload"]);
    let said = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert_eq!(reload.status.code(), Some(1));
    for part in [
        "relayd.toml:",
        "tls.certificate: ",
        "cert.pem",
        "stay as they were",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    relay.write("cert.pem", &Certificate::for_names(&["relay.test"]).pem());
    relay.wait_for_log("does not belong to").await;
    submissions(&relay, &new)
        .await
        .expect("still the last good one");
    assert!(open.command("NOOP").await.starts_with("250 "));
}

#[tokio::test]
async fn each_name_gets_its_own_certificate() {
    let extra = "[[tls.extra]]\ncertificate = \"DIR/other.pem\"\nkey = \"DIR/other.key\"\n";
    let mut relay = Relay::prepare(&format!("{SUBMISSION}{extra}"));
    let first = certificate(&relay);
    let other = Certificate::for_names(&["mail.example.net"]);
    relay.write("other.pem", &other.pem());
    relay.write("other.key", &other.key_pem());
    relay.restart();
    for (name, authority) in [("relay.test", &first), ("mail.example.net", &other)] {
        let client = relay.connect_as("submission").await;
        client.start_tls(name, &authority.pem()).await.expect(name);
    }
    let status: Value = serde_json::from_str(&relay.done(&["--json", "qstat"])).expect("JSON");
    assert_eq!(status["certificates"][1]["names"][0], "mail.example.net");
    assert!(status["certificates"][0]["days_left"].as_i64() > Some(14));
}

#[tokio::test]
async fn an_expired_certificate_is_reported() {
    let mut relay = Relay::prepare(SUBMISSION);
    install(&relay, &Certificate::expired(&["relay.test"]));
    relay.restart();
    relay.wait_for_log("event=certificate").await;
    let status: Value = serde_json::from_str(&relay.done(&["--json", "qstat"])).expect("JSON");
    assert!(status["certificates"][0]["days_left"].as_i64() < Some(0));
    let shown = relay.done(&["qstat"]);
    assert!(shown.contains("cert.pem has expired"), "{shown}");
}

#[tokio::test]
async fn a_permission_for_an_address_counts_at_once_survives_a_crash_and_can_be_revoked() {
    let mut relay = Relay::start(EXTERNAL_CLIENTS);
    let may_relay = async |relay: &Relay| {
        let mut client = relay.connect().await;
        client.command("MAIL FROM:<a@sender.test>").await;
        let reply = client.command("RCPT TO:<u@dest.test>").await;
        assert!(
            reply.starts_with("250 ") || reply.starts_with("553 5.7.1 "),
            "{reply}"
        );
        reply.starts_with("250 ")
    };
    assert!(!may_relay(&relay).await);
    relay.done(&["acl", "allow", "127.0.0.1", "--for", "3h"]);
    assert!(may_relay(&relay).await);
    relay.kill();
    relay.restart();
    assert!(may_relay(&relay).await);
    assert!(relay.done(&["acl", "list"]).contains("127.0.0.1"));
    relay.done(&["acl", "remove", "127.0.0.1"]);
    assert!(!may_relay(&relay).await);
    assert_eq!(
        relay.ctl(&["acl", "remove", "127.0.0.1"]).status.code(),
        Some(1)
    );
    relay.done(&["acl", "allow", "127.0.0.1", "--for", "1s"]);
    relay
        .wait_until("end of it", || relay.done(&["acl", "list"]).is_empty())
        .await;
    assert!(!may_relay(&relay).await);
}

#[tokio::test]
async fn a_changed_configuration_is_read_automatically_and_a_bad_one_changes_nothing() {
    let relay = Relay::start("[relay]\nbad_senders = [\"one@sender.test\"]\n");
    let refused = async |sender: &str| {
        let mut client = relay.connect().await;
        let reply = client
            .command(&format!("MAIL FROM:<{sender}@sender.test>"))
            .await;
        reply.starts_with("553 ")
    };
    relay.configure("[relay]\nbad_senders = [\"two@sender.test\"]\n");
    relay.wait_for_log("was read again and applies").await;
    assert!(refused("two").await && !refused("one").await);
    relay.configure("[relay]\nbad_sendres = []\n");
    relay
        .wait_for_log("relayd.toml:12: unknown key \\\"bad_sendres\\\" in [relay]")
        .await;
    assert!(refused("two").await);
    relay.configure("[relay]\nbad_senders = [\"three@sender.test\"]\n");
    let pid = i32::try_from(relay.pid()).expect("a process id");
    let pid = Pid::from_raw(pid).expect("a process id");
    kill_process(pid, Signal::HUP).expect("a process");
    let took_it = || relay.log().matches("was read again and applies").count() == 2;
    relay.wait_until("reload by a signal", took_it).await;
    assert!(refused("three").await && !refused("two").await);
}

#[tokio::test]
async fn only_a_proxy_can_speak_for_its_clients() {
    let extra = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"submission\"\n\
        proxies = [\"127.0.0.1\"]\n[relay]\nnetworks = [\"192.0.2.1\"]\n";
    let relay = Relay::start(extra);
    for (client, code) in [("192.0.2.1", "250 "), ("192.0.2.2", "530 ")] {
        let mut proxy = Client::connect(relay.port("submission")).await;
        let header = format!("PROXY TCP4 {client} 192.0.2.9 40000 587\r\n");
        proxy.write(header.as_bytes()).await;
        assert!(proxy.reply().await.starts_with("220 "));
        proxy.command("EHLO client.test").await;
        let reply = proxy.command("MAIL FROM:<a@sender.test>").await;
        assert!(reply.starts_with(code), "{client}: {reply}");
    }
    let mut other = Client::connect(relay.port("mx")).await;
    assert!(other.reply().await.starts_with("220 "));
    let reply = other
        .command("PROXY TCP4 192.0.2.1 192.0.2.9 40000 25")
        .await;
    assert!(reply.starts_with("500 "), "{reply}");
}
