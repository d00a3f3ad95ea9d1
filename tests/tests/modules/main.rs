//! The modules within each crate: which may import which, where their files are, and how their
//! types are named. `arrows.rs` does the same for whole crates.

mod graph;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use graph::{Crate, Module, cycles};

/// Crates that still have cycles; none may be added.
const WITH_CYCLES: &[&str] = &[];

/// Crates that still have files named `mod.rs`; none may be added.
const WITH_MOD_FILES: &[&str] = &[];

/// Names that still have too many types; none may be added.
const OVERUSED: &[&str] = &["Config"];

/// A name of this many letters and fewer says little by itself.
const SHORT: usize = 8;

/// How many public types may share a short name.
const MEANINGS: usize = 2;

/// Returns the name and the source folder of each crate.
fn crates() -> Vec<(String, PathBuf)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = tests.parent().expect("the workspace is around its tests");
    let mut crates: Vec<_> = fs::read_dir(root.join("crates"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path().join("src"),
            )
        })
        .filter(|(_, src)| src.is_dir())
        .collect();
    crates.sort();
    crates
}

fn shown(cycle: &[Module]) -> String {
    let names = cycle.iter().map(|module| match module.as_slice() {
        [] => "crate".to_owned(),
        names => names.join("::"),
    });
    names.collect::<Vec<_>>().join(" -> ")
}

#[test]
fn no_modules_import_each_other() {
    for (name, src) in crates() {
        let found: Vec<_> = cycles(&Crate::read(&src).graph())
            .iter()
            .map(|c| shown(c))
            .collect();
        let is_excused = WITH_CYCLES.contains(&name.as_str());
        assert!(
            found.is_empty() || is_excused,
            "cycles in {name}: {found:#?}"
        );
    }
}

#[test]
fn a_module_with_children_is_a_file_beside_their_folder() {
    for (name, src) in crates() {
        let found = mod_files(&src);
        let is_excused = WITH_MOD_FILES.contains(&name.as_str());
        assert!(
            found.is_empty() || is_excused,
            "mod.rs in {name}: {found:#?}"
        );
    }
}

fn mod_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                return mod_files(&path);
            }
            Vec::from_iter(path.ends_with("mod.rs").then_some(path))
        })
        .collect()
}

#[test]
fn no_more_than_two_public_types_have_the_same_short_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, src) in crates() {
        for (module, source) in Crate::read(&src).sources() {
            for short in source.types.iter().filter(|t| t.len() <= SHORT) {
                let place = format!("{name}::{}", module.join("::"));
                places.entry(short.clone()).or_default().push(place);
            }
        }
    }
    places.retain(|name, places| places.len() > MEANINGS && !OVERUSED.contains(&name.as_str()));
    assert!(places.is_empty(), "{places:#?}");
}
