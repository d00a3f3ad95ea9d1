//! `relayctl mx` beside a scripted name server.

use std::process::Output;

use relay_testkit::{FakeDns, Trouble};
use serde_json::Value;
use tokio::process::Command;

async fn mx(dns: &FakeDns, args: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("relayd.toml");
    let text = "hostname = \"relay.test\"\n[delivery]\nport = 2525\n";
    std::fs::write(&config, text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_relayctl"));
    command.arg("--config").arg(config).arg("mx").args(args);
    command.arg("--dns").arg(dns.address().to_string());
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.expect("relayctl runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = status.code().expect("an exit code");
    (code, text(stdout), text(stderr))
}

#[tokio::test]
async fn hosts_are_listed_by_preference_with_their_addresses() {
    let dns = FakeDns::start().await;
    dns.set_ttl(300);
    let records = ["20 mx2.dest.test", "30 gone.dest.test", "10 mx1.dest.test"];
    dns.set("dest.test", "MX", &records);
    dns.set("mx1.dest.test", "A", &["192.0.2.1"]);
    dns.set("mx1.dest.test", "AAAA", &["2001:db8::1"]);
    dns.set("mx2.dest.test", "A", &["127.0.0.1"]);
    let (code, out, _) = mx(&dns, &["user@dest.test"]).await;
    let lines: Vec<_> = out
        .lines()
        .map(|line| line.split(" ttl ").next().unwrap_or(line).trim())
        .collect();
    let expected = [
        "10  mx1.dest.test",
        "[2001:db8::1]:2525",
        "192.0.2.1:2525",
        "20  mx2.dest.test",
    ];
    assert_eq!((code, &lines[..4]), (0, &expected[..]), "{out}");
    assert!(lines[4].starts_with("passed over: "), "{out}");
    assert_eq!(lines[5], "30  gone.dest.test");
    assert!(out.lines().next().is_some_and(|l| l.contains("  ttl ")));
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_exchanger() {
    let dns = FakeDns::start().await;
    dns.set("dest.test", "A", &["192.0.2.1"]);
    let (code, out, _) = mx(&dns, &["--json", "dest.test"]).await;
    let found: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, 0);
    assert_eq!(found["hosts"][0]["name"], "dest.test");
    assert_eq!(found["hosts"][0]["preference"], Value::Null);
    let address = &found["hosts"][0]["addresses"][0]["address"];
    assert_eq!(address, "192.0.2.1:2525");
}

#[tokio::test]
async fn a_domain_that_accepts_no_mail_is_exit_1_with_the_reason() {
    let dns = FakeDns::start().await;
    dns.set("null.test", "MX", &["0 ."]);
    dns.set("own.test", "MX", &["0 relay.test"]);
    dns.fail("broken.test", Trouble::ServFail);
    for (domain, reason) in [
        ("null.test", "null MX"),
        ("gone.test", "gone.test"),
        ("broken.test", "broken.test"),
        ("own.test", "none of its hosts can be used"),
    ] {
        let (code, out, error) = mx(&dns, &[domain]).await;
        assert_eq!(code, 1, "{domain}: {out}");
        assert!(error.contains(reason), "{domain}: {error}");
    }
    let (code, _, error) = mx(&dns, &["a b"]).await;
    assert_eq!(code, 2, "{error}");
}
