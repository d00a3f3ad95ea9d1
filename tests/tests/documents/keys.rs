//! Every key of the configuration that the documents name exists.

use std::collections::BTreeSet;

use crate::text::{self, Parts};

/// Returns the keys of `etc/relayd.toml`, as `table.key`.
fn keys() -> BTreeSet<String> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in text::read("etc/relayd.toml").lines() {
        let line = line.trim_start_matches(['#', ' ']);
        let name = line.trim_matches(['[', ']']);
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '.');
        if line.starts_with('[') && is_name {
            name.clone_into(&mut table);
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{table}.{key}"));
        }
    }
    keys
}

/// Returns the key if the text is written as `table.key`, with or without a value, for a table in
/// which each key has a comment.
fn names_a_key<'a>(span: &'a str, tables: &BTreeSet<&str>) -> Option<&'a str> {
    let name = span.split(" = ").next()?;
    let (table, key) = name.split_once('.')?;
    let is_key = !table.is_empty()
        && !key.is_empty()
        && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    (is_key && key != "md" && tables.contains(table)).then_some(name)
}

#[test]
fn every_key_that_the_documents_name_exists() {
    let keys = keys();
    let tables = keys.iter().filter_map(|key| key.split_once('.'));
    let tables: BTreeSet<&str> = tables.map(|(table, _)| table).collect();
    let mut count = 0;
    for document in text::for_administrators() {
        for span in Parts::of(&text::read(&document)).code_spans() {
            if let Some(name) = names_a_key(&span, &tables) {
                assert!(keys.contains(name), "{document}: there is no {name}");
                count += 1;
            }
        }
    }
    assert!(count > 50, "only {count} keys were found");
}
