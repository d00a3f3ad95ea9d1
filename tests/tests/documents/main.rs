//! The documents are right: their configurations are valid, their commands and keys exist, and
//! their links lead somewhere.

mod commands;
mod configurations;
mod keys;
mod links;
mod messages;
mod paths;
mod text;

/// The README is an overview; everything else is a page under `docs/`.
const README_LINES: usize = 120;

#[test]
fn the_readme_is_short() {
    let lines = text::read("README.md").lines().count();
    assert!(lines <= README_LINES, "{lines} lines");
}
