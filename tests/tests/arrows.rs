//! Which crate may know which: the arrows of ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::process::Command;

/// A crate and those of ours that it may depend on; `relayd` may know all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("relay-smtp", &[]),
    ("relay-queue", &["relay-smtp"]),
    ("relay-remote", &["relay-smtp"]),
    ("relay-control", &["relay-smtp"]),
    ("relay-dkim", &[]),
    ("relay-smtpd", &["relay-smtp", "relay-queue", "relay-dkim"]),
    ("relay-send", &["relay-smtp", "relay-queue"]),
    ("relayctl", &["relay-control"]),
    ("relay-testkit", &["relay-smtp"]),
];

#[test]
fn no_crate_knows_what_is_not_below_it() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .expect("cargo runs this very test");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let ours = package["dependencies"]
            .as_array()
            .expect("a list of dependencies")
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|dependency| names.contains(dependency));
        match ALLOWED.iter().find(|(known, _)| *known == name) {
            Some((_, allowed)) => {
                let wrong: Vec<&str> = ours.filter(|d| !allowed.contains(d)).collect();
                assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
            }
            None => assert!(
                name == "relayd" || name == "relay-tests",
                "{name} is new: say here what it may depend on"
            ),
        }
    }
}
