use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::deserializer::{Problem, Tree};
use crate::source::Source;
use crate::strict::Strict;

const DEFAULTS: &str = include_str!("../../../../etc/relayd.toml");

/// Returns `etc/relayd.toml` with every default uncommented.
fn uncommented() -> String {
    let bare = |line: &str| {
        let key = line
            .strip_prefix('#')
            .filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        key.unwrap_or(line).to_owned()
    };
    DEFAULTS.lines().map(bare).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_file_in_etc_has_the_defaults_of_the_schema() {
    for text in [DEFAULTS, &uncommented()] {
        let read = Strict::parse(Path::new("relayd.toml"), text);
        assert_eq!(read.expect("a valid file").file, File::default());
    }
}

#[test]
fn the_file_in_etc_has_every_key() {
    let spelled: toml::Table = uncommented().parse().expect("TOML");
    let examples = ["hostname", "postmaster", "route", "dkim"];
    // Lists of tables. The keys of these tables have no defaults, so the file has them in examples.
    let tables = ["route", "dkim", "tls.extra"];
    for table in [
        "", "listener", "relay", "limits", "tls", "auth", "queue", "delivery", "dns", "control",
        "log", "inbound",
    ] {
        let known = known_keys(table);
        assert!(!known.is_empty());
        let spelled = match table {
            "" => Some(&spelled),
            "listener" => spelled["listener"][0].as_table(),
            table => spelled[table].as_table(),
        };
        let mut spelled: BTreeSet<String> = spelled.expect(table).keys().cloned().collect();
        match table {
            "" => spelled.extend(examples.map(str::to_owned)),
            "tls" => spelled.extend(["extra".to_owned()]),
            _ => {}
        }
        assert_eq!(known, spelled, "[{table}]");
    }
    let keys = tables.iter().flat_map(|table| known_keys(table));
    for key in keys.chain(examples.iter().chain(&tables).map(|&key| key.to_owned())) {
        let is_shown =
            |line: &str| line.starts_with(&format!("# {key} = ")) || line == format!("# [[{key}]]");
        assert!(DEFAULTS.lines().any(is_shown), "{key}");
    }
}

/// The keys that the schema has for a table.
fn known_keys(table: &str) -> BTreeSet<String> {
    let text = match table {
        "" => "no-key = 1".to_owned(),
        "listener" | "route" | "dkim" | "tls.extra" => format!("[[{table}]]\nno-key = 1"),
        table => format!("[{table}]\nno-key = 1"),
    };
    let source = Source::parse(Path::new("relayd.toml"), &text).expect("TOML");
    let tree = Tree {
        root: source.tree(),
        skipped: &[],
    };
    let error = tree.read::<File>().expect_err("no-key is not a key");
    match error.problem {
        Problem::UnknownKey { known } => known.iter().map(|&key| key.to_owned()).collect(),
        other => panic!("{table}: {other:?}"),
    }
}
