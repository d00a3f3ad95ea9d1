//! `relayctl probe` beside a scripted server.

use std::process::{Output, Stdio};

use relay_testkit::{Certificate, FakeDns, FakeMx, ScriptStep};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

struct Probed {
    code: i32,
    out: String,
    error: String,
}

impl Probed {
    /// The lines of the dialogue, without times.
    fn lines(&self) -> Vec<&str> {
        let dialogue = self.out.lines().filter_map(|line| line.get(10..));
        dialogue.collect()
    }

    fn has(&self, line: &str) -> bool {
        self.lines().iter().any(|l| l.starts_with(line))
    }
}

async fn probe(config: &str, args: &[&str], input: &str) -> Probed {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("relayd.toml");
    std::fs::write(&file, format!("hostname = \"relay.test\"\n{config}")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_relayctl"));
    command.arg("--config").arg(file).arg("probe").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("written");
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Probed {
        code: status.code().expect("an exit code"),
        out: text(stdout),
        error: text(stderr),
    }
}

fn at(mx: &FakeMx) -> String {
    mx.address().to_string()
}

#[tokio::test]
async fn the_whole_dialogue_is_shown_before_and_after_starttls() {
    let mx = FakeMx::start().await;
    mx.offer_tls(&Certificate::for_names(&["mx.test"]));
    let args = [&at(&mx)[..], "--from", "a@b.test", "--to", "c@d.test"];
    let probed = probe("", &args, "").await;
    assert_eq!(probed.code, 0, "{}", probed.error);
    for line in [
        "SERVER -> CLIENT: 220 ",
        "CLIENT -> SERVER: STARTTLS",
        "-- TLSv1.3 with ",
        "-- certificate 1: CN=mx.test, issued by CN=mx.test, names mx.test, until ",
        "-- the certificate is not verified: no authority",
        "-- the certificate is not verified: it is for other names",
        "CLIENT -> SERVER: MAIL FROM:<a@b.test>",
        "CLIENT -> SERVER: RCPT TO:<c@d.test>",
        "CLIENT -> SERVER: Subject: Test message",
        "CLIENT -> SERVER: QUIT",
    ] {
        assert!(probed.has(line), "{line}: {}", probed.out);
    }
    let hello = "CLIENT -> SERVER: EHLO relay.test";
    let greetings = probed.lines().iter().filter(|l| **l == hello).count();
    assert_eq!(greetings, 2, "before and after: {}", probed.out);
    let messages = mx.messages();
    assert!(messages[0].tls && messages[0].recipients == ["<c@d.test>"]);
}

#[tokio::test]
async fn a_dry_run_stops_after_rcpt() {
    let mx = FakeMx::start().await;
    let probed = probe("", &[&at(&mx), "--to", "c@d.test", "--dry"], "").await;
    assert_eq!(probed.code, 0, "{}", probed.out);
    assert!(probed.has("CLIENT -> SERVER: MAIL FROM:<postmaster@relay.test>"));
    assert!(!mx.commands().iter().any(|c| c == "DATA"));
    mx.on("rset", ScriptStep::Drop);
    let probed = probe("", &[&at(&mx), "--to", "c@d.test", "--dry"], "").await;
    assert_eq!(probed.code, 0, "RCPT was accepted: {}", probed.error);
}

#[tokio::test]
async fn non_ascii_addresses_are_not_sent_to_a_server_without_smtputf8() {
    let mx = FakeMx::start().await;
    let args = [&at(&mx), "--to", "c@b\u{fc}cher.test", "--dry"];
    let probed = probe("", &args, "").await;
    assert_eq!(probed.code, 1, "{}", probed.out);
    assert!(!mx.commands().iter().any(|c| c.starts_with("MAIL")));
    mx.offer(&["SMTPUTF8"]);
    assert_eq!(probe("", &args, "").await.code, 0);
}

#[tokio::test]
async fn a_wrong_configuration_is_exit_2() {
    let mx = FakeMx::start().await;
    let config = "[delivery]\nca_file = \"/nowhere/ca.pem\"\n";
    let probed = probe(config, &[&at(&mx)], "").await;
    assert_eq!((probed.code, mx.connections()), (2, 0), "{}", probed.error);
}

#[tokio::test]
async fn a_refusal_is_exit_1_with_the_reply_of_the_server() {
    let tls = Certificate::for_names(&["mx.test"]);
    for (stage, reply, extra) in [
        ("connect", "554 5.7.1 go away", None),
        ("rcpt", "550 5.7.1 no relay", None),
        ("dot", "550 5.7.26 unauthenticated", None),
        ("starttls", "454 4.7.0 not now", Some("--tls=require")),
    ] {
        let mx = FakeMx::start().await;
        mx.offer_tls(&tls);
        mx.on(stage, reply);
        let mut args = vec![at(&mx), "--to".to_owned(), "c@d.test".to_owned()];
        args.extend(extra.map(str::to_owned));
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let probed = probe("", &args, "").await;
        assert_eq!(probed.code, 1, "{stage}: {}", probed.out);
        assert!(probed.out.contains(reply), "{stage}: {}", probed.out);
        assert!(probed.error.contains(reply), "{stage}: {}", probed.error);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_exit_2() {
    let mx = FakeMx::start().await;
    let address = at(&mx);
    mx.on("connect", ScriptStep::Drop);
    assert_eq!(probe("", &[&address], "").await.code, 2, "no word");
    mx.on("connect", ScriptStep::Silence);
    let probed = probe("", &[&address, "--timeout", "300ms"], "").await;
    assert_eq!(probed.code, 2, "{}", probed.error);
    drop(mx);
    let probed = probe("", &[&address], "").await;
    assert_eq!(probed.code, 2, "nobody: {}", probed.error);
}

#[tokio::test]
async fn the_next_mx_host_of_a_domain_is_tried() {
    let places = ["127.0.0.2", "127.0.0.3"].map(|a| a.parse().expect("an address"));
    let [busy, good] = FakeMx::start_on(places).await;
    busy.on("connect", "421 4.3.2 out of slots");
    let dns = FakeDns::start().await;
    dns.set("dest.test", "MX", &["20 mx2.dest.test", "10 mx1.dest.test"]);
    dns.set("mx1.dest.test", "A", &["127.0.0.2"]);
    dns.set("mx2.dest.test", "A", &["127.0.0.3"]);
    let config = format!(
        "[delivery]\nrefuse_addresses = []\nport = {}\n[dns]\nservers = [\"{}\"]\n",
        good.address().port(),
        dns.address()
    );
    let probed = probe(&config, &["dest.test"], "").await;
    assert_eq!(probed.code, 0, "{}", probed.out);
    assert!(probed.has("SERVER -> CLIENT: 421 4.3.2 out of slots"));
    assert_eq!((busy.connections(), good.connections()), (1, 1));
    dns.set("null.test", "MX", &["0 ."]);
    let probed = probe(&config, &["null.test"], "").await;
    assert_eq!(probed.code, 2);
    assert!(probed.error.contains("null MX"), "{}", probed.error);
}

#[tokio::test]
async fn after_a_broken_handshake_the_probe_continues_without_tls() {
    let mx = FakeMx::start().await;
    mx.offer_tls(&Certificate::for_names(&["mx.test"]));
    mx.on("handshake", ScriptStep::Drop);
    let probed = probe("", &[&at(&mx), "--to", "c@d.test"], "").await;
    assert_eq!(probed.code, 0, "{}", probed.out);
    assert!(probed.has("-- continuing without TLS"));
    assert!(!mx.messages()[0].tls);
    let probed = probe("", &[&at(&mx), "--tls", "require"], "").await;
    assert_eq!(probed.code, 1, "{}", probed.out);
}

#[tokio::test]
async fn no_password_is_shown_even_if_the_server_repeats_it() {
    let mx = FakeMx::start().await;
    mx.offer_tls(&Certificate::for_names(&["mx.test"]));
    mx.offer(&["AUTH PLAIN"]);
    let login = [&at(&mx)[..], "--auth", "app", "--password-stdin"];
    let probed = probe("", &login, "s3cr3tword\n").await;
    assert_eq!(probed.code, 0, "{}", probed.out);
    assert!(probed.has("CLIENT -> SERVER: AUTH PLAIN (hidden)"));
    mx.on("auth", "535 5.7.8 s3cr3tword AGFwcABzM2NyM3R3b3Jk is wrong");
    let probed = probe("", &login, "s3cr3tword\n").await;
    assert_eq!(probed.code, 1, "{}", probed.out);
    let json: Vec<_> = ["--json"].into_iter().chain(login).collect();
    let as_json = probe("", &json, "s3cr3tword\n").await;
    for text in [probed.out, probed.error, as_json.out, as_json.error] {
        assert!(text.contains("535 5.7.8 "), "{text}");
        assert!(!text.contains("s3cr3tword"), "{text}");
        assert!(!text.contains("AGFwcAB"), "{text}");
    }
}

#[tokio::test]
async fn an_open_relay_is_found_and_a_closed_one_is_not() {
    let mx = FakeMx::start().await;
    mx.on("rcpt", "550 5.7.1 no relay");
    let probed = probe("", &[&at(&mx), "--open-relay"], "").await;
    assert_eq!(probed.code, 0, "{}", probed.error);
    assert!(probed.out.contains("not an open relay: all 13 variants"));
    mx.on("rcpt relay-test%example.com@[127.0.0.1]", "250 fine");
    let json = probe("", &["--json", &at(&mx), "--open-relay"], "").await;
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    let tried = report["relaying"].as_array().expect("a list");
    let taken: Vec<_> = tried.iter().filter(|t| t["answer"] == "taken").collect();
    assert_eq!((json.code, taken.len()), (1, 1), "{taken:?}");
    assert!(mx.messages().is_empty());
}

#[tokio::test]
async fn a_server_that_hangs_up_on_the_refused_is_dialled_again() {
    let mx = FakeMx::start().await;
    let closing = || ScriptStep::SayAndDrop("421 4.7.0 too many errors".to_owned());
    let refused = || ScriptStep::Say("550 5.7.1 no relay".to_owned());
    mx.on_each("rcpt", [refused(), closing(), refused()]);
    let probed = probe("", &[&at(&mx), "--open-relay"], "").await;
    assert_eq!(probed.code, 0, "{}", probed.out);
    let asked = |mx: &FakeMx| {
        let commands = mx.commands();
        commands.iter().filter(|c| c.starts_with("RCPT")).count()
    };
    assert_eq!((mx.connections(), asked(&mx)), (2, 14), "the same again");
}

#[tokio::test]
async fn a_server_that_refuses_nothing_permanently_may_be_an_open_relay() {
    for (stage, step) in [
        ("rcpt", ScriptStep::Say("450 4.2.0 greylisted".to_owned())),
        ("mail", ScriptStep::Say("451 4.3.0 later".to_owned())),
        ("rcpt", ScriptStep::Drop),
        (
            "rset",
            ScriptStep::SayAndDrop("421 4.7.0 go away".to_owned()),
        ),
    ] {
        let mx = FakeMx::start().await;
        mx.on("rcpt", "550 5.7.1 no relay");
        mx.on(stage, step);
        let probed = probe("", &[&at(&mx), "--open-relay"], "").await;
        assert_eq!(probed.code, 1, "{stage}: {}", probed.out);
        let expected = "cannot tell whether this is an open relay";
        assert!(probed.error.contains(expected), "{stage}: {}", probed.error);
    }
}
