//! The events of the log: those in the code and those in `docs/log.md` are the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The event that the log itself writes, without `tracing`.
const OF_THE_LOG: (&str, &str) = ("log", "warn");

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace is around its tests")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Returns each event of a source with its level.
fn events_of(text: &str) -> impl Iterator<Item = (String, String)> {
    let places = text.match_indices("event = \"");
    places.filter_map(|(at, before)| {
        let (name, _) = text[at + before.len()..].split_once('"')?;
        let level = ["error", "warn", "info", "debug", "trace"]
            .into_iter()
            .max_by_key(|level| text[..at].rfind(&format!("{level}!(")))?;
        Some((name.to_owned(), level.to_owned()))
    })
}

/// Returns the rows of the table of events in `docs/log.md`: names and levels.
fn documented() -> Vec<(BTreeSet<String>, BTreeSet<String>)> {
    let text = fs::read_to_string(root().join("docs/log.md")).expect("the page");
    let (_, table) = text.split_once("| event | level |").expect("the table");
    let rows = table.lines().skip(2).take_while(|l| l.starts_with('|'));
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1);
        let names = cells.next()?.split('`').skip(1).step_by(2);
        let names = names.map(str::to_owned).collect();
        let levels = cells.next()?.split(',');
        Some((names, levels.map(|l| l.trim().to_owned()).collect()))
    };
    rows.filter_map(row).collect()
}

#[test]
fn every_event_of_the_log_is_documented_with_its_level_and_no_other() {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("a folder") {
        sources(&entry.expect("a crate").path().join("src"), &mut files);
    }
    let (name, level) = OF_THE_LOG;
    let mut logged = BTreeSet::from([(name.to_owned(), level.to_owned())]);
    for file in files {
        logged.extend(events_of(&fs::read_to_string(file).expect("text")));
    }
    assert!(logged.len() > 20, "{logged:?}");
    let table = documented();
    for (name, level) in &logged {
        assert!(
            table
                .iter()
                .any(|(names, levels)| names.contains(name) && levels.contains(level)),
            "{name} ({level}) is missing"
        );
    }
    for name in table.iter().flat_map(|(names, _)| names) {
        assert!(
            logged.iter().any(|(n, _)| n == name),
            "{name} is never logged"
        );
    }
}
