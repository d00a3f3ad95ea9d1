//! `relayctl route` without a daemon.

use std::fs;
use std::process::{Command, Output};

use relay_testkit::FakeDns;
use serde_json::Value;
use tempfile::TempDir;

/// The configuration of a relay that does not run.
struct Stopped {
    directory: TempDir,
}

impl Stopped {
    /// `more` is added to the configuration.
    fn with(more: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        let socket = directory.path().join("control.sock");
        let text = format!(
            "hostname = \"relay.test\"\n[control]\nsocket = \"{}\"\n{more}",
            socket.display()
        );
        fs::write(directory.path().join("relayd.toml"), text).expect("a file");
        Self { directory }
    }

    fn route(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relayctl"));
        command.arg("--config");
        command.arg(self.directory.path().join("relayd.toml"));
        let Output {
            status,
            stdout,
            stderr,
        } = command
            .args(args)
            .arg("route")
            .args(["a@shop.test", "u@dest.test"])
            .output()
            .expect("relayctl runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let code = status.code().expect("an exit code");
        (code, text(stdout), text(stderr))
    }
}

const ROUTES: &str = "[[route]]\ndomain = \"other.test\"\nhost = [\"192.0.2.8\"]\n\
    [[route]]\nsender = \"*@shop.test\"\nhost = [\"192.0.2.9\"]\nport = 465\ntls = \"implicit\"\n\
    username = \"shop\"\npassword_file = \"/etc/relayd/shop\"\n";

#[test]
fn without_a_daemon_the_configuration_decides() {
    let stopped = Stopped::with(ROUTES);
    let (code, out, error) = stopped.route(&[]);
    let expected = "\
decided by   [[route]] domain = \"*\", sender = \"*@shop.test\"
destination  shop@192.0.2.9:465
login        shop, by a password
host         192.0.2.9:465  tls implicit
             192.0.2.9:465
";
    assert_eq!((code, out.as_str(), error.as_str()), (0, expected, ""));
    let (_, out, _) = stopped.route(&["--json"]);
    let plan: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(plan["destination"], "shop@192.0.2.9:465");
    assert_eq!(plan["hosts"][0]["tls"], "implicit");
}

#[test]
fn a_configuration_that_the_daemon_would_refuse_is_an_error_with_its_line() {
    for (more, expected) in [
        (
            "[[route]]\nhost = [\"192.0.2.9\"]\n",
            "4: [[route]] needs the key \"domain\"",
        ),
        (
            "[queue]\nlifetyme = \"1d\"\n",
            "5: unknown key \"lifetyme\" in [queue] (did you mean \"lifetime\"?)",
        ),
    ] {
        let stopped = Stopped::with(more);
        let file = stopped.directory.path().join("relayd.toml");
        let (code, _, error) = stopped.route(&[]);
        assert_eq!(code, 1, "{error}");
        let expected = format!("relayctl: {}:{expected}\n", file.display());
        assert_eq!(error, expected);
    }
}

#[test]
fn a_daemon_that_is_named_by_its_socket_must_answer() {
    let stopped = Stopped::with(ROUTES);
    let socket = stopped.directory.path().join("control.sock");
    let output = Command::new(env!("CARGO_BIN_EXE_relayctl"))
        .arg("--socket")
        .arg(socket)
        .args(["route", "a@shop.test", "u@dest.test"])
        .output()
        .expect("relayctl runs");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn an_mx_at_the_address_of_a_configured_listener_is_this_relay() {
    let dns = FakeDns::start().await;
    dns.set("dest.test", "MX", &["10 mx.dest.test"]);
    dns.set("mx.dest.test", "A", &["192.0.2.1"]);
    let servers = format!("[dns]\nservers = [\"{}\"]\n", dns.address());
    let listener = "[[listener]]\naddress = \"192.0.2.1:25\"\nrole = \"mx\"\n";
    for (more, is_own) in [(listener, true), ("", false)] {
        let stopped = Stopped::with(&format!("{servers}{more}"));
        let asked = tokio::task::spawn_blocking(move || stopped.route(&["--json"]));
        let (_, out, error) = asked.await.expect("no panic");
        let plan: Value = serde_json::from_str(&out).expect(&error);
        let problem = plan["hosts"][0]["problem"].as_str();
        assert_eq!(
            problem.is_some_and(|text| text.contains("this relay")),
            is_own,
            "{out}"
        );
    }
}
