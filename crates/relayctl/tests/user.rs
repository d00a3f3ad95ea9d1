//! `relayctl user`, which needs no daemon.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A configuration and what it names.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().expect("a directory"));
        let text = format!(
            "state_dir = \"{}\"\n[auth]\nusers = \"{}\"\n",
            world.path("state").display(),
            world.path("users").display()
        );
        fs::write(world.path("relayd.toml"), text).expect("a file");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn users(&self) -> String {
        fs::read_to_string(self.path("users")).expect("a file")
    }

    /// Exit code, standard output and standard error of `relayctl user ARGS`.
    fn user(&self, args: &[&str], input: &str) -> (Option<i32>, String, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_relayctl"))
            .arg("--config")
            .arg(self.path("relayd.toml"))
            .arg("user")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("relayctl runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        // One that needs no input may have ended.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("an end");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn add(&self, name: &str, password: &str, more: &[&str]) -> (Option<i32>, String, String) {
        self.user(
            &[&["add", name, "--password-stdin"], more].concat(),
            password,
        )
    }
}

#[test]
fn users_are_added_listed_and_removed() {
    let world = World::new();
    let done = (Some(0), String::new(), String::new());
    assert_eq!(world.add("app", "s3cret\n", &[]), done);
    let senders = ["--sender", "*@example.org", "--sender", "me@example.net"];
    assert_eq!(world.add("me@example.org", "pass word", &senders), done);
    let mode = fs::metadata(world.path("users"))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!world.users().contains("s3cret") && !world.users().contains("pass word"));
    let listed = "app  any sender\nme@example.org  *@example.org me@example.net\n";
    assert_eq!(
        world.user(&["list"], ""),
        (Some(0), listed.to_owned(), String::new())
    );
    let json = "[{\"name\":\"app\",\"senders\":[]},{\"name\":\"me@example.org\",\
        \"senders\":[\"*@example.org\",\"me@example.net\"]}]\n";
    assert_eq!(world.user(&["list", "--json"], "").1, json);
    assert_eq!(world.user(&["remove", "app"], ""), done);
    assert_eq!(
        world.user(&["list"], "").1,
        "me@example.org  *@example.org me@example.net\n"
    );
}

#[test]
fn a_new_password_leaves_the_senders_as_they_were() {
    let world = World::new();
    world.add("app", "one\n", &["--sender", "*@example.org"]);
    let before = world.users();
    assert_eq!(
        world
            .user(&["passwd", "app", "--password-stdin"], "two\n")
            .0,
        Some(0)
    );
    assert_ne!(world.users(), before);
    assert_eq!(world.user(&["list"], "").1, "app  *@example.org\n");
}

#[test]
fn what_cannot_be_done_is_exit_1_and_changes_nothing() {
    let world = World::new();
    world.add("app", "one\n", &[]);
    let before = world.users();
    for (args, input, said) in [
        (
            &["add", "app", "--password-stdin"][..],
            "two\n",
            "there is a user \"app\" already",
        ),
        (
            &["add", "#app", "--password-stdin"],
            "two\n",
            "does not begin with \"#\"",
        ),
        (
            &["add", "new", "--password-stdin"],
            "\n",
            "an empty password",
        ),
        (&["add", "new", "--password-stdin"], "", "an empty password"),
        (
            &["add", "new", "--password-stdin"],
            "a\tb\n",
            "cannot contain control characters",
        ),
        (
            &["passwd", "App", "--password-stdin"],
            "two\n",
            "no user \"App\" in ",
        ),
        (&["remove", "nobody"], "", "no user \"nobody\" in "),
    ] {
        let (code, out, error) = world.user(args, input);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        assert!(
            error.starts_with("relayctl: ") && error.contains(said),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1);
    }
    assert_eq!(world.users(), before);
}

#[test]
fn a_file_that_makes_no_sense_is_named_and_left_alone() {
    let world = World::new();
    fs::write(world.path("users"), "app\t$2y$secret\n").expect("a file");
    let (code, _, error) = world.add("new", "x\n", &[]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("/users:1: the second field") && !error.contains("$2y$"),
        "{error}"
    );
    assert_eq!(world.users(), "app\t$2y$secret\n");
}

#[test]
fn without_its_folder_it_says_so() {
    let world = World::new();
    let text = format!(
        "[auth]\nusers = \"{}\"\n",
        world.path("none/users").display()
    );
    fs::write(world.path("relayd.toml"), text).expect("a file");
    let (code, _, error) = world.add("new", "x\n", &[]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("none/users") && error.contains("create its directory"),
        "{error}"
    );
}
