//! The real daemon dies under load, again and again, and no acknowledged message is lost.
//!
//! `CRASH_ROUNDS=20` makes the test twenty times as long.

use std::fs;
use std::process::Command;

use relay_tests::{Launch, Trial, Verdict};
use serde_json::Value;

/// The failpoints that a daemon reaches without damage. The table is in `relay_failpoint`.
const POINTS: [&str; 11] = [
    "body-synced",
    "directory-synced",
    "appending",
    "appended",
    "synced",
    "told",
    "unlinking",
    "accepted",
    "attempted",
    "recorded",
    "reporting",
];
/// Those that it reaches once after a start, or every few seconds.
const RARE_POINTS: [&str; 4] = [
    "segment-written",
    "segment-named",
    "checkpoint",
    "checkpoint-written",
];
/// The disk calls of a daemon for each message, or for each large one.
const CALLS: [&str; 6] = [
    "body-make",
    "body-write",
    "body-sync",
    "directory-sync",
    "journal-write",
    "journal-sync",
];
/// Those for the first segment after a start.
const RARE_CALLS: [&str; 4] = [
    "segment-make",
    "journal-allocate",
    "segment-rename",
    "journal-directory-sync",
];
/// How many deliveries may be under way when the daemon dies, and so arrive twice.
const IN_FLIGHT: usize = 120;

fn rounds() -> usize {
    let rounds = std::env::var("CRASH_ROUNDS").ok();
    rounds.map_or(1, |n| n.parse().expect("CRASH_ROUNDS is a number"))
}

/// No crash makes a queue that a start finds damaged.
fn is_sound(log: &str, when: &str) {
    let damage: Vec<&str> = log.lines().filter(|l| l.contains("corrupt")).collect();
    assert!(damage.is_empty(), "{when}: {damage:#?}");
}

fn check(verdict: &Verdict, crashes: usize) {
    assert!(verdict.is_good(), "{verdict:?}");
    assert!(verdict.acknowledged > crashes, "{verdict:?}");
    assert!(verdict.twice <= crashes * IN_FLIGHT, "{verdict:?}");
}

#[tokio::test]
async fn no_acknowledged_message_is_lost_at_any_crash_point() {
    let mut trial = Trial::prepare("").await;
    trial.relay.restart();
    let load = trial.load();
    for _ in 0..rounds() {
        let often = POINTS.map(|point| format!("{point}:{}", fastrand::u32(1..10)));
        let rarely = RARE_POINTS.map(|point| format!("{point}:1"));
        for at in often.into_iter().chain(rarely) {
            trial.more(1).await;
            is_sound(&trial.relay.kill(), &at);
            // Crash points during the start count as well.
            if trial.relay.launch(&Launch::dying_at(&at)).is_ok() {
                load.follow(&trial.relay);
                is_sound(&trial.relay.wait_for_end().await, &at);
            }
            trial.relay.restart();
            load.follow(&trial.relay);
        }
    }
    load.stop().await;
    let points = POINTS.len() + RARE_POINTS.len();
    check(&trial.settle().await, rounds() * points * 2);
}

#[tokio::test]
async fn no_acknowledged_message_is_lost_when_the_daemon_is_killed() {
    let (mut trial, kills) = (Trial::prepare("").await, rounds() * 5);
    trial.relay.restart();
    let load = trial.load();
    for _ in 0..kills {
        trial.more(fastrand::usize(1..150)).await;
        is_sound(&trial.relay.kill(), "killed");
        trial.relay.restart();
        load.follow(&trial.relay);
    }
    load.stop().await;
    check(&trial.settle().await, kills);
}

#[tokio::test]
async fn when_any_disk_call_fails_clients_get_at_most_4xx_and_the_daemon_continues() {
    let often = CALLS.map(|call| format!("{call}:{}", fastrand::u32(2..10)));
    let rarely = RARE_CALLS.map(|call| format!("{call}:1"));
    for at in often.iter().chain(&rarely) {
        fails_and_recovers(at, "EIO", "Input/output error").await;
        fails_and_recovers(at, "ENOSPC", "No space left on device").await;
    }
}

/// The index on disk cannot be written, which no client notices.
#[tokio::test]
async fn when_the_index_cannot_be_synced_the_daemon_continues_without_it() {
    let mut trial = Trial::prepare("").await;
    let launched = trial
        .relay
        .launch(&Launch::failing_at("index-sync:1", "EIO"));
    launched.unwrap_or_else(|log| panic!("{log}"));
    let load = trial.load();
    trial.relay.wait_for_log("Input/output error").await;
    trial.more(20).await;
    load.stop().await;
    assert_eq!(trial.ledger.take_refusals(), Vec::<String>::new());
    let verdict = trial.settle().await;
    assert!(verdict.is_good() && verdict.twice == 0, "{verdict:?}");
}

async fn fails_and_recovers(at: &str, error: &str, text: &str) {
    let mut trial = Trial::prepare("").await;
    let launched = trial.relay.launch(&Launch::failing_at(at, error));
    launched.unwrap_or_else(|log| panic!("{at}: {log}"));
    let load = trial.load();
    // If the call fails for a report of the relay itself, no client notices.
    trial.relay.wait_for_log(text).await;
    trial.more(20).await;
    load.stop().await;
    let refusals = trial.ledger.take_refusals();
    let are_temporary = refusals.iter().all(|reply| reply.starts_with('4'));
    assert!(are_temporary, "{at}: {refusals:?}");
    let verdict = trial.settle().await;
    assert!(verdict.is_good() && verdict.twice == 0, "{at}: {verdict:?}");
}

#[test]
fn the_real_daemon_has_no_crash_points() {
    let names = ["RELAY_CRASH_AT", "RELAY_LEAVE_OUT", "RELAY_FAIL_AT"];
    let has = |launch: &Launch, name: &str| {
        let program = fs::read(launch.program()).expect("a program");
        program.windows(name.len()).any(|w| w == name.as_bytes())
    };
    for name in names {
        assert!(has(&Launch::dying_at("nowhere"), name), "{name}");
        assert!(!has(&Launch::plain(), name), "{name}");
    }
}

#[test]
fn no_crate_enables_crash_points() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let metadata = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .expect("cargo runs this very test");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    let has = |features: &Value| features.to_string().contains("crash-points");
    let with: Vec<_> = packages.iter().filter(|p| has(&p["features"])).collect();
    assert_eq!(
        with.len(),
        3,
        "the crash points themselves, the queue and the daemon: {with:?}"
    );
    for package in packages {
        assert!(!has(&package["features"]["default"]), "{package}");
        let dependencies = package["dependencies"].as_array().expect("a list");
        assert!(
            !dependencies.iter().any(|d| has(&d["features"])),
            "{package}"
        );
    }
}
