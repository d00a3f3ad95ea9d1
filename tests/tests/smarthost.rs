//! Mail to smarthosts: routing, TLS, logins, and what the operator sees.

use relay_testkit::{Certificate, FakeDns, FakeMx};
use relay_tests::Relay;
use serde_json::Value;

const MESSAGE: &[u8] = b"Subject: t\r\n\r\nhello\r\n";
const AUTH: [&str; 2] = ["PIPELINING", "AUTH SCRAM-SHA-256 PLAIN LOGIN"];

fn route(mx: &FakeMx, rest: &str) -> String {
    let port = mx.address().port();
    format!("[[route]]\nhost = [\"localhost\"]\nport = {port}\n{rest}\n")
}

/// Starts a trusted host that accepts `relay` with this password, and a relay that logs in there.
async fn smarthost(password: &str, rest: &str) -> (FakeMx, Relay) {
    let mx = FakeMx::start().await;
    let certificate = Certificate::for_names(&["localhost"]);
    mx.offer_tls(&certificate);
    mx.offer(&AUTH);
    mx.login("relay", password);
    let mut relay = Relay::prepare(&format!(
        "[delivery]\nca_file = \"DIR/ca.pem\"\nip = \"v4\"\n{}",
        route(
            &mx,
            &format!("domain = \"*\"\nusername = \"relay\"\n{rest}")
        )
    ));
    relay.write("ca.pem", &certificate.pem());
    relay.write("password", "hunter2\n");
    relay.restart();
    (mx, relay)
}

#[tokio::test]
async fn mail_reaches_a_smarthost_over_tls_with_a_login() {
    for source in [
        "password_file = \"DIR/password\"",
        "password_command = [\"cat\", \"DIR/password\"]",
    ] {
        let (mx, relay) = smarthost("hunter2", source).await;
        relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
        let arrived = mx.wait_for_messages(1).await;
        assert!(arrived[0].tls, "{source}");
        relay.wait_until_empty().await;
        let log = relay.log();
        assert!(log.contains("event=tls side=client"), "{log}");
        let login = format!(
            "auth as relay with localhost[127.0.0.1]:{}",
            mx.address().port()
        );
        assert!(
            log.contains(&format!("{login} by SCRAM-SHA-256: ok")),
            "{log}"
        );
        assert!(
            log.contains("verified=true") && !log.contains("hunter2"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn rejected_credentials_raise_an_alarm_that_ends_when_they_are_accepted() {
    let (mx, relay) = smarthost("another", "password_file = \"DIR/password\"").await;
    let id = relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    relay.wait_for_log("event=smarthost").await;
    relay.wait_for_log(" by SCRAM-SHA-256 failed: 535 ").await;
    let alarms = || -> Value {
        let status: Value = serde_json::from_str(&relay.done(&["--json", "qstat"])).expect("JSON");
        status["alarms"].clone()
    };
    let alarm = alarms()[0].clone();
    let about = format!("relay@localhost:{}", mx.address().port());
    assert_eq!(alarm["about"], about);
    assert!(
        alarm["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("535")),
        "{alarm}"
    );
    let shown = relay.done(&["qstat"]);
    assert!(shown.contains(&format!("alarm: {about} since ")), "{shown}");
    assert!(relay.done(&["qread"]).contains(&id), "it waits");
    relay.write("password", "another\n");
    mx.wait_for_messages(1).await;
    relay.wait_until_empty().await;
    assert_eq!(alarms(), Value::Array(Vec::new()));
}

#[tokio::test]
async fn senders_can_have_their_own_smarthosts() {
    let (shop, rest) = (FakeMx::start().await, FakeMx::start().await);
    let relay = Relay::start(&format!(
        "[delivery]\nip = \"v4\"\n{}{}",
        route(&shop, "sender = \"*@shop.example\"\ntls = \"none\""),
        route(&rest, "domain = \"*\"\ntls = \"none\""),
    ));
    relay
        .send("a@shop.example", &["u@dest.test"], MESSAGE)
        .await;
    relay.send("a@sender.test", &["u@dest.test"], MESSAGE).await;
    assert!(
        shop.wait_for_messages(1).await[0]
            .mail
            .starts_with("<a@shop.example>")
    );
    assert!(
        rest.wait_for_messages(1).await[0]
            .mail
            .starts_with("<a@sender.test>")
    );
}

/// Needs a second thread, on which the name server answers while the command blocks the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn route_shows_the_same_with_and_without_the_daemon() {
    let dns = FakeDns::start().await;
    dns.set("dest.test", "MX", &["20 mx2.dest.test", "10 mx1.dest.test"]);
    dns.set("mx1.dest.test", "A", &["192.0.2.1"]);
    dns.set("mx2.dest.test", "A", &["192.0.2.2"]);
    let mut relay = Relay::start(&format!(
        "[dns]\nservers = [\"{}\"]\n[[route]]\nsender = \"*@shop.example\"\nhost = [\"192.0.2.9\"]\n\
         port = 465\ntls = \"implicit\"\nusername = \"shop\"\npassword_file = \"DIR/relayd.toml\"\n",
        dns.address()
    ));
    let ask = |relay: &Relay, from: &str| -> Value {
        let told = relay.done(&["--json", "route", from, "u@dest.test"]);
        serde_json::from_str(&told).expect("JSON")
    };
    let told = |relay: &Relay| (ask(relay, "a@sender.test"), ask(relay, "a@shop.example"));
    let with = told(&relay);
    let shown = relay.done(&["route", "<>", "u@dest.test"]);
    assert!(
        shown.contains("mx1.dest.test") && shown.contains("192.0.2.1"),
        "{shown}"
    );
    relay.kill();
    assert_eq!(told(&relay), with);
    let (by_mx, by_route) = with;
    assert_eq!(by_mx["by"], "MX of dest.test");
    let hosts = by_mx["hosts"].as_array().expect("hosts");
    let names: Vec<_> = hosts.iter().map(|host| host["name"].as_str()).collect();
    assert_eq!(names, [Some("mx1.dest.test"), Some("mx2.dest.test")]);
    assert_eq!(hosts[0]["tls"], "opportunistic");
    assert_eq!(by_route["login"], "shop, by a password");
    assert_eq!(by_route["hosts"][0]["tls"], "implicit");
    let wrong = relay.ctl(&["route", "nobody", "u@dest.test"]);
    assert_eq!(wrong.status.code(), Some(1));
}
