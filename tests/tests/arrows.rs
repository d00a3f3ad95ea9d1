//! Which crates may depend on which, as in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Each crate, and the crates of this workspace that it may depend on. Its tests may also use
/// [`FOR_TESTS`].
const ALLOWED: &[(&str, &[&str])] = &[
    ("relay-smtp", &[]),
    ("relay-message", &["relay-smtp"]),
    ("relay-failpoint", &[]),
    (
        "relay-queue",
        &["relay-smtp", "relay-message", "relay-failpoint"],
    ),
    ("relay-remote", &["relay-smtp", "relay-message"]),
    ("relay-control", &[]),
    ("relay-atomic-file", &[]),
    ("relay-users", &["relay-atomic-file", "relay-smtp"]),
    ("relay-maildrop", &["relay-smtp"]),
    ("relay-config", &["relay-smtp"]),
    (
        "relay-routing",
        &[
            "relay-config",
            "relay-control",
            "relay-remote",
            "relay-smtp",
        ],
    ),
    ("relay-cli", &["relay-config"]),
    ("relay-terminal", &["relay-smtp"]),
    (
        "relay-diagnose",
        &[
            "relay-config",
            "relay-terminal",
            "relay-remote",
            "relay-routing",
            "relay-dkim",
            "relay-smtp",
        ],
    ),
    ("relay-dkim", &["relay-smtp"]),
    (
        "relay-mailauth",
        &["relay-smtp", "relay-smtpd", "relay-dkim", "relay-remote"],
    ),
    (
        "relay-smtpd",
        &[
            "relay-smtp",
            "relay-message",
            "relay-failpoint",
            "relay-dkim",
        ],
    ),
    (
        "relay-send",
        &[
            "relay-smtp",
            "relay-message",
            "relay-control",
            "relay-failpoint",
        ],
    ),
    (
        "relayctl",
        &[
            "relay-cli",
            "relay-control",
            "relay-users",
            "relay-atomic-file",
            "relay-terminal",
            "relay-diagnose",
            "relay-routing",
            "relay-smtp",
        ],
    ),
    (
        "relayd",
        &[
            "relay-smtp",
            "relay-smtpd",
            "relay-message",
            "relay-queue",
            "relay-send",
            "relay-remote",
            "relay-routing",
            "relay-cli",
            "relay-config",
            "relay-control",
            "relay-users",
            "relay-maildrop",
            "relay-atomic-file",
            "relay-dkim",
            "relay-mailauth",
        ],
    ),
    (
        "relay-sendmail",
        &["relay-cli", "relay-config", "relay-maildrop", "relay-smtp"],
    ),
    ("relay-testkit", &["relay-smtp", "relay-message"]),
    ("relay-tests", &["relay-testkit"]),
];

/// The crates that the tests of every crate may use: the tools for tests, and a queue to put
/// messages into.
const FOR_TESTS: &[&str] = &["relay-testkit", "relay-queue"];

/// Crates, and the dependencies that they must not have, however indirect: no I/O in the protocol,
/// no database in clients of the daemon, no resolver except for deliveries and diagnosis.
const WITHOUT: &[(&str, &[&str])] = &[
    ("relay-smtp", &["tokio", "mio", "socket2", "tracing"]),
    ("relay-control", &["tokio", "mio", "socket2", "sled"]),
    ("relay-users", &["tokio", "mio", "socket2", "sled"]),
    ("relay-maildrop", &["tokio", "mio", "socket2", "sled"]),
    ("relay-atomic-file", &["tokio", "mio", "socket2", "sled"]),
    (
        "relay-config",
        &["tokio", "mio", "hickory-resolver", "sled", "axum"],
    ),
    ("relay-routing", &["sled", "axum"]),
    // relay-config looks up the hostname with dns-lookup, which brings socket2.
    ("relay-cli", &["tokio", "mio", "hickory-resolver", "sled"]),
    ("relay-terminal", &["tokio", "mio", "socket2", "sled"]),
    ("relay-diagnose", &["sled", "axum"]),
    ("relayctl", &["sled", "axum"]),
    (
        "relay-sendmail",
        &["tokio", "sled", "hickory-resolver", "axum"],
    ),
    ("relay-smtpd", &["hickory-resolver"]),
    ("relay-send", &["hickory-resolver"]),
    ("relay-remote", &["sled"]),
    ("relay-message", &["tokio", "sled"]),
];

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .arg("--offline")
        .output()
        .expect("cargo runs this very test");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_crate_depends_only_on_crates_below_it() {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let told = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, told, "list above what a new crate may depend on");
    for (name, allowed) in ALLOWED {
        let package = packages.iter().find(|p| p["name"] == *name);
        let package = package.expect("it is one of the names");
        let dependencies = package["dependencies"].as_array().expect("a list");
        let wrong: Vec<_> = dependencies
            .iter()
            .filter_map(|dependency| Some((dependency["name"].as_str()?, &dependency["kind"])))
            .filter(|(known, _)| names.contains(known) && !allowed.contains(known))
            .filter(|(known, kind)| !FOR_TESTS.contains(known) || *kind != "dev")
            .collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn no_crate_has_a_forbidden_dependency() {
    for (name, without) in WITHOUT {
        let tree = tree(name);
        let found: BTreeSet<&str> = tree.lines().filter_map(|l| l.split(' ').next()).collect();
        assert!(found.contains(name), "{tree}");
        let wrong: Vec<_> = without.iter().filter(|w| found.contains(*w)).collect();
        assert!(wrong.is_empty(), "{name} must do without {wrong:?}");
    }
}

/// Returns all dependencies of a crate, except those of mail-auth alone. Its resolver is for
/// verifying, and a crate that only signs never uses it.
fn tree(name: &str) -> String {
    let arguments = ["tree", "-p", name, "-e", "normal", "--prefix", "none"];
    let tree = cargo(&arguments);
    if tree.lines().any(|line| line.starts_with("mail-auth ")) {
        return cargo(&[&arguments[..], &["--prune", "mail-auth"]].concat());
    }
    tree
}
