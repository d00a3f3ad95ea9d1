//! `relayctl dkim` beside a scripted name server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use relay_testkit::{FakeDns, Trouble};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// The public half of an RSA key with 1024 bits.
const WEAK: &str = include_str!("../../dkim/tests/vectors/rsa1024.public.txt");

/// An operator, with a folder of files and a name server.
struct Operator {
    dns: FakeDns,
    dir: TempDir,
}

struct DkimOutput {
    code: i32,
    out: String,
    error: String,
}

impl Operator {
    async fn new() -> Self {
        let operator = Self {
            dns: FakeDns::start().await,
            dir: TempDir::new().expect("a directory"),
        };
        operator.configure(&[]);
        operator
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Configures these keys for `a.test`: selectors and files.
    fn configure(&self, keys: &[(&str, &str)]) {
        let mut text = format!(
            "hostname = \"relay.test\"\nstate_dir = \"{}\"\n[dns]\nservers = [\"{}\"]\n",
            self.dir.path().display(),
            self.dns.address()
        );
        text.extend(keys.iter().map(|(selector, file)| {
            let file = self.path(file).display().to_string();
            format!("[[dkim]]\ndomain = \"a.test\"\nselector = \"{selector}\"\nkey = \"{file}\"\n")
        }));
        fs::write(self.path("relayd.toml"), text).expect("a file");
    }

    async fn dkim(&self, args: &[&str]) -> DkimOutput {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relayctl"));
        command.arg("--config").arg(self.path("relayd.toml"));
        command.arg("dkim").args(args).current_dir(self.dir.path());
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().await.expect("relayctl runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        DkimOutput {
            code: status.code().expect("an exit code"),
            out: text(stdout),
            error: text(stderr),
        }
    }

    /// A new key of `a.test`; its record.
    async fn genkey(&self, selector: &str, more: &[&str]) -> Value {
        let file = format!("{selector}.pem");
        let args = ["--json", "genkey", "--domain", "a.test", "--out", &file];
        let said = self
            .dkim(&[&args[..], &["--selector", selector], more].concat())
            .await;
        assert_eq!(said.code, 0, "{}", said.error);
        let made: Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!(made["key"], file);
        made["record"].clone()
    }

    fn publish(&self, record: &Value) {
        let text = |key: &str| record[key].as_str().expect("text").to_owned();
        self.dns.set(&text("name"), "TXT", &[&text("value")]);
    }
}

#[tokio::test]
async fn a_new_key_is_private_and_its_record_is_printed_for_the_zone_file() {
    let operator = Operator::new().await;
    let args = ["genkey", "--domain", "A.test", "--selector", "mail"];
    let args = [&args[..], &["--out", "k.pem"]].concat();
    let said = operator.dkim(&args).await;
    assert_eq!(said.code, 0, "{}", said.error);
    let record = said.out;
    let start = "mail._domainkey.a.test. IN TXT (\n\t\"v=DKIM1; k=rsa; p=MII";
    assert!(record.starts_with(start), "{record}");
    let strings: Vec<&str> = record.split('"').skip(1).step_by(2).collect();
    assert!(strings.len() == 2 && strings.iter().all(|s| s.len() <= 255));
    // What to do next does not get into the zone file.
    assert!(said.error.contains("dkim testkey --domain a.test") && !record.contains("testkey"));
    let file = operator.path("k.pem");
    let entry = format!(
        "[[dkim]]\ndomain = \"a.test\"\nselector = \"mail\"\nkey = \"{}\"\n",
        file.display()
    );
    assert!(said.error.ends_with(&entry), "{}", said.error);
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let key = fs::read_to_string(&file).expect("a file");
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS#8");

    let again = operator.dkim(&args).await;
    assert_eq!((again.code, again.out.as_str()), (1, ""));
    assert!(again.error.contains("already exists"), "{}", again.error);
    assert_eq!(fs::read_to_string(&file).expect("a file"), key);
    let args = [&args[..6], &["none/k.pem"]].concat();
    let nowhere = operator.dkim(&args).await;
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.error.contains("create its directory first"));
}

#[tokio::test]
async fn an_ed25519_key_is_generated_on_request_and_printed_as_json() {
    let operator = Operator::new().await;
    let record = operator.genkey("ed", &["--algorithm", "ed25519"]).await;
    assert_eq!(record["name"], "ed._domainkey.a.test");
    assert_eq!(record["type"], "TXT");
    let value = record["value"].as_str().expect("text");
    assert!(value.starts_with("v=DKIM1; k=ed25519; p="), "{value}");
    assert_eq!(record["strings"][0], value);
}

#[tokio::test]
async fn invalid_names_are_refused_before_a_key_is_generated() {
    let operator = Operator::new().await;
    for (domain, selector) in [("a..test", "mail"), ("a.test", "a_b"), ("a test", "mail")] {
        let args = ["genkey", "--domain", domain, "--selector", selector];
        let said = operator
            .dkim(&[&args[..], &["--out", "k.pem"]].concat())
            .await;
        assert_eq!(said.code, 2, "{domain} {selector}");
    }
    assert!(!operator.path("k.pem").exists());
}

#[tokio::test]
async fn a_key_is_compared_with_the_published_record() {
    let operator = Operator::new().await;
    let record = operator.genkey("mail", &[]).await;
    let other = operator.genkey("other", &[]).await;
    let ed25519 = operator.genkey("ed", &["--algorithm", "ed25519"]).await;
    operator.configure(&[("mail", "mail.pem")]);
    let text = |record: &Value| record["value"].as_str().expect("text").to_owned();
    let (record, other, ed25519) = (text(&record), text(&other), text(&ed25519));
    let weak = format!("v=DKIM1; p={}", WEAK.trim());
    for (published, code, result, advice) in [
        (&[&record[..]][..], 0, "ok", ""),
        (
            &[&format!("{record}; t=y")],
            0,
            "ok, but marked as a test",
            "remove t=y",
        ),
        (&[], 1, "no record", "publish a TXT record at"),
        (
            &[&other],
            1,
            "does not match: the record has another key",
            "put this relay's key",
        ),
        (
            &[&ed25519],
            1,
            "does not match: the record has a key of another kind",
            "put",
        ),
        (
            &[&record, &other],
            1,
            "multiple records (2)",
            "leave one TXT record",
        ),
        (&["v=DKIM1; k=rsa; p="], 1, "revoked", "make a new key"),
        (
            &[&weak],
            1,
            "weak key: RSA with 1024 bits",
            "put this relay's key",
        ),
    ] {
        operator.dns.set("mail._domainkey.a.test", "TXT", published);
        let said = operator.dkim(&["testkey"]).await;
        let expected = format!("mail._domainkey.a.test: {result}");
        assert!(
            said.out.starts_with(&expected),
            "{published:?}: {}",
            said.out
        );
        assert!(said.out.contains(advice), "{published:?}: {}", said.out);
        assert_eq!(said.code, code, "{published:?}");
        let said = operator.dkim(&["--json", "testkey"]).await;
        let tested: Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!(tested[0]["ok"], code == 0, "{published:?}");
        assert_eq!(tested[0]["record"]["value"], record, "{published:?}");
    }
    operator
        .dns
        .fail("mail._domainkey.a.test", Trouble::ServFail);
    let said = operator.dkim(&["testkey"]).await;
    assert!(said.code == 1 && said.out.contains("cannot be looked up"));
}

#[tokio::test]
async fn the_keys_to_test_can_be_chosen() {
    let operator = Operator::new().await;
    for selector in ["one", "two"] {
        let record = operator.genkey(selector, &["--algorithm", "ed25519"]).await;
        operator.publish(&record);
    }
    operator.configure(&[("one", "one.pem"), ("two", "two.pem")]);
    for (args, expected) in [
        (&[][..], &["one", "two"][..]),
        (&["--domain", "A.test"], &["one", "two"]),
        (&["--domain", "a.test", "--selector", "two"], &["two"]),
    ] {
        let said = operator.dkim(&[&["testkey"], args].concat()).await;
        let names = said.out.lines().filter_map(|line| line.split('.').next());
        assert_eq!(names.collect::<Vec<_>>(), expected, "{args:?}");
    }
    let unknown = operator.dkim(&["testkey", "--domain", "b.test"]).await;
    assert!(unknown.code == 1 && unknown.error.contains("no such key"));

    // One that is not in use yet, and one that the relay would refuse.
    let record = operator.genkey("new", &[]).await;
    operator.publish(&record);
    let args = ["testkey", "--domain", "a.test", "--selector", "new"];
    let args = [&args[..], &["--key", "new.pem"]].concat();
    assert_eq!(operator.dkim(&args).await.code, 0);
    let file = operator.path("new.pem");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
    let said = operator.dkim(&args).await;
    assert!(
        said.code == 1 && said.out.contains("chmod 600 new.pem"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn a_rotation_continues_at_its_next_step_and_skips_none() {
    let operator = Operator::new().await;
    let old = operator.genkey("old", &["--algorithm", "ed25519"]).await;
    operator.publish(&old);
    operator.configure(&[("old", "old.pem")]);
    let args = [
        "rotate", "--domain", "a.test", "--old", "old", "--new", "n1",
    ];
    let standings = |said: &DkimOutput| {
        let lines = said.out.lines().filter(|line| line.contains(". "));
        let words = lines.filter_map(|line| line.split(' ').next().filter(|w| !w.is_empty()));
        words.map(str::to_owned).collect::<Vec<_>>()
    };

    let said = operator.dkim(&args).await;
    assert_eq!(
        standings(&said),
        ["done", "next", "later", "later"],
        "{}",
        said.error
    );
    let start = "v=DKIM1; k=ed25519; p=";
    assert!(said.out.contains(start), "as the old one: {}", said.out);
    let file = operator.path("a.test.n1.pem");
    let key = fs::read(&file).expect("beside the old one");

    let said = operator.dkim(&args).await;
    assert_eq!(standings(&said), ["done", "next", "later", "later"]);
    assert_eq!(fs::read(&file).expect("a file"), key, "it is made once");
    let record: String = said.out.split('"').skip(1).step_by(2).collect();
    operator.dns.set("n1._domainkey.a.test", "TXT", &[&record]);
    let said = operator.dkim(&args).await;
    assert_eq!(standings(&said), ["done", "done", "next", "later"]);
    assert!(said.out.contains("selector = \"n1\""), "{}", said.out);
    let whole = said.out.lines().any(|line| line == "[[dkim]]");
    assert!(!whole, "the other settings stay: {}", said.out);

    operator.configure(&[("old", "old.pem"), ("n1", "a.test.n1.pem")]);
    let said = operator.dkim(&args).await;
    assert_eq!(standings(&said), ["done", "done", "next", "later"]);
    assert!(said.out.contains("remove the [[dkim]]"), "{}", said.out);
    operator.configure(&[("n1", "a.test.n1.pem")]);
    let said = operator.dkim(&args).await;
    assert_eq!(standings(&said), ["done", "done", "done", "next"]);
    let name = "old._domainkey.a.test";
    let revoked = format!("{name}. IN TXT \"v=DKIM1; p=\"");
    assert!(said.out.contains(&revoked), "{}", said.out);
    operator.dns.set(name, "TXT", &["v=DKIM1; p="]);
    let said = operator.dkim(&args).await;
    assert_eq!(standings(&said), ["done"; 4]);
    assert_eq!(said.code, 0);
}

#[tokio::test]
async fn a_rotation_needs_two_keys() {
    let operator = Operator::new().await;
    let rotate = ["rotate", "--domain", "a.test", "--old", "mail", "--new"];
    let same = operator.dkim(&[&rotate[..], &["mail"]].concat()).await;
    assert_eq!(same.code, 2);
    let unknown = operator.dkim(&[&rotate[..], &["n1"]].concat()).await;
    assert!(
        unknown.code == 1 && unknown.error.contains("--out"),
        "{}",
        unknown.error
    );
}

#[tokio::test]
async fn a_problem_with_another_key_does_not_stop_a_test_of_one_domain() {
    let operator = Operator::new().await;
    let record = operator.genkey("mail", &[]).await;
    operator.publish(&record);
    operator.configure(&[("mail", "mail.pem")]);
    let file = operator.path("relayd.toml");
    let text = fs::read_to_string(&file).expect("a file");
    let broken = "[[dkim]]\ndomain = \"b.test\"\nselector = \"a b\"\nkey = \"/k\"\n";
    fs::write(&file, text + broken).expect("a file");
    let said = operator.dkim(&["testkey", "--domain", "a.test"]).await;
    assert_eq!(said.code, 0, "{}", said.error);
    for args in [&["testkey"][..], &["testkey", "--domain", "b.test"]] {
        let said = operator.dkim(args).await;
        assert_eq!(said.code, 2, "{}", said.error);
        assert!(said.error.contains("dkim.selector"), "{}", said.error);
    }
}
