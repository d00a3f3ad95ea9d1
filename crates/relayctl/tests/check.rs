//! `relayctl check` beside a scripted name server.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::{Duration, Instant};

use relay_testkit::{Certificate, FakeDns, FakeMx, Trouble};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// The key of RFC 8463 §A.2, and its record.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
const DKIM: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// A domain whose records are all in order.
async fn good() -> FakeDns {
    let dns = FakeDns::start().await;
    for (name, kind, value) in [
        ("a.test", "MX", "10 relay.a.test"),
        ("relay.a.test", "A", "192.0.2.7"),
        ("7.2.0.192.in-addr.arpa", "PTR", "relay.a.test"),
        ("a.test", "TXT", "v=spf1 ip4:192.0.2.7 -all"),
        ("relay.a.test", "TXT", "v=spf1 a -all"),
        ("_dmarc.a.test", "TXT", "v=DMARC1; p=reject"),
        ("mail._domainkey.a.test", "TXT", DKIM),
    ] {
        dns.set(name, kind, &[value]);
    }
    dns
}

async fn check(dns: &FakeDns, config: &str, args: &[&str]) -> (i32, String) {
    let directory = TempDir::new().expect("a directory");
    let (file, key) = (
        directory.path().join("relayd.toml"),
        directory.path().join("key"),
    );
    std::fs::write(&key, KEY).expect("written");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let text = format!(
        "hostname = \"relay.a.test\"\n[dns]\nservers = [\"{}\"]\n[[dkim]]\ndomain = \"a.test\"\n\
         selector = \"mail\"\nkey = \"{}\"\nsubdomains = true\n{config}",
        dns.address(),
        key.display()
    );
    std::fs::write(&file, text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_relayctl"));
    command
        .arg("--config")
        .arg(&file)
        .args(["check", "a.test"])
        .args(args);
    let Output { status, stdout, .. } = command.output().await.expect("relayctl runs");
    let code = status.code().expect("an exit code");
    (code, String::from_utf8(stdout).expect("text"))
}

const OFFLINE: [&str; 3] = ["--address", "192.0.2.7", "--offline-ports"];

fn lines(out: &str, level: &str) -> Vec<String> {
    let of_level = out.lines().filter(|line| line.starts_with(level));
    of_level.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_domain_in_order_passes_with_a_line_for_each_check() {
    let (code, out) = check(&good().await, "", &OFFLINE).await;
    assert_eq!(
        (code, lines(&out, "fail"), lines(&out, "warn")),
        (0, vec![], vec![]),
        "{out}"
    );
    for about in [
        "address", "PTR", "HELO", "MX", "SPF", "DKIM", "DMARC", "MTA-STS", "TLS-RPT", "DNSBL",
    ] {
        let is_there = out.lines().any(|line| line[6..].starts_with(about));
        assert!(is_there, "{about}: {out}");
    }
}

#[tokio::test]
async fn a_missing_record_fails_and_the_record_to_add_is_printed() {
    for (name, kind, record) in [
        (
            "7.2.0.192.in-addr.arpa",
            "PTR",
            "7.2.0.192.in-addr.arpa. IN PTR relay.a.test.",
        ),
        (
            "_dmarc.a.test",
            "TXT",
            "_dmarc.a.test. IN TXT \"v=DMARC1; p=none",
        ),
        ("mail._domainkey.a.test", "TXT", DKIM),
        (
            "a.test",
            "TXT",
            "a.test. IN TXT \"v=spf1 ip4:192.0.2.7 mx -all\"",
        ),
    ] {
        let dns = good().await;
        dns.set(name, kind, &[]);
        let (code, out) = check(&dns, "", &OFFLINE).await;
        let failed = lines(&out, "fail");
        assert_eq!((code, failed.len()), (1, 1), "{name}: {out}");
        assert!(failed[0].contains(record), "{name}: {out}");
    }
}

#[tokio::test]
async fn a_listing_fails_in_json_as_well() {
    let dns = good().await;
    dns.set("7.2.0.192.list.test", "A", &["127.0.0.2"]);
    let args = [&OFFLINE[..], &["--dnsbl", "list.test", "--json"]].concat();
    let (code, out) = check(&dns, "", &args).await;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let findings = report["findings"].as_array().expect("a list");
    let failed: Vec<_> = findings.iter().filter(|f| f["level"] == "fail").collect();
    assert_eq!((code, failed.len()), (1, 1), "{out}");
    assert_eq!(failed[0]["about"], "DNSBL");
    assert_eq!(report["addresses"][0], "192.0.2.7");
}

#[tokio::test]
async fn ports_are_checked_unless_offline_ports_is_given() {
    let (dns, mx) = (good().await, FakeMx::start().await);
    let address = mx.address().to_string();
    let config = format!("[[listener]]\naddress = \"{address}\"\n");
    let args = ["--address", "192.0.2.7", "--outbound", &address];
    let (code, out) = check(&dns, &config, &args).await;
    assert_eq!((code, mx.connections()), (0, 2), "{out}");
    assert!(
        lines(&out, "ok").iter().any(|l| l.contains("port 25")),
        "{out}"
    );
    let warned = lines(&out, "warn");
    assert!(warned.iter().any(|l| l.contains("offers no TLS")), "{out}");
    check(&dns, &config, &OFFLINE).await;
    assert_eq!(mx.connections(), 2);
}

#[tokio::test]
async fn a_listener_that_takes_this_machine_for_a_proxy_is_not_checked() {
    let (dns, mx) = (good().await, FakeMx::start().await);
    let address = mx.address().to_string();
    for (proxies, connections) in [("127.0.0.0/8", 1), ("127.0.0.1", 2), ("192.0.2.1", 4)] {
        let config = format!("[[listener]]\naddress = \"{address}\"\nproxies = [\"{proxies}\"]\n");
        let args = ["--address", "192.0.2.7", "--outbound", &address];
        let (code, out) = check(&dns, &config, &args).await;
        assert_eq!((code, mx.connections()), (0, connections), "{out}");
    }
}

#[tokio::test]
async fn a_smarthost_is_checked_with_the_tls_of_its_route() {
    let places = ["127.0.0.2", "127.0.0.3"].map(|a| a.parse().expect("an address"));
    let [broken, good] = FakeMx::start_on(places).await;
    broken.on("connect", "554 5.7.1 go away");
    good.begin_with_tls(&Certificate::for_names(&["smtp.test"]));
    let port = good.address().port();
    let config = |tls: &str| {
        format!(
            "[[listener]]\naddress = \"unix:/run/nowhere\"\n[[route]]\ndomain = \"*\"\n\
             host = [\"127.0.0.2\", \"127.0.0.3\"]\nport = {port}\ntls = \"{tls}\"\n"
        )
    };
    let args = ["--timeout", "2s"];
    let dns = crate::good().await;
    let (code, out) = check(&dns, &config("implicit"), &args).await;
    let expected = format!("127.0.0.3:{port}) accepts an SMTP session");
    assert!(code == 0 && out.contains(&expected), "{out}");
    let (code, out) = check(&dns, &config("none"), &args).await;
    let failed = lines(&out, "fail");
    assert_eq!((code, failed.len()), (1, 1), "{out}");
    assert!(failed[0].contains("smarthost") && failed[0].contains("[[route]]"));
}

#[tokio::test]
async fn lookups_without_an_answer_fail_within_the_time_limit() {
    let dns = good().await;
    for name in ["a.test", "_dmarc.a.test", "7.2.0.192.in-addr.arpa"] {
        dns.fail(name, Trouble::Silence);
    }
    #[expect(clippy::disallowed_methods, reason = "it measures the program itself")]
    let begun = Instant::now();
    let args = [&OFFLINE[..], &["--timeout", "500ms"]].concat();
    let (code, out) = check(&dns, "", &args).await;
    assert_eq!(code, 1, "{out}");
    for about in ["PTR", "MX", "SPF", "DMARC"] {
        let failed = lines(&out, "fail");
        let expected = |line: &String| line.contains(about) && line.contains("no answer in 500ms");
        assert!(failed.iter().any(expected), "{about}: {out}");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "all at the same time"
    );
}
