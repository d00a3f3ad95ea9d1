//! Every term in `docs/internals/glossary.md` is used in the code.

use std::fs;
use std::path::{Path, PathBuf};

/// The heading in the glossary under which terms of the tests are.
const OF_TESTS: &str = "Tests";

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace is around its tests")
}

/// Returns the terms of the glossary, each with the heading it is under.
fn terms() -> Vec<(String, String)> {
    let path = root().join("docs/internals/glossary.md");
    let text = fs::read_to_string(path).expect("the glossary");
    let mut heading = String::new();
    let mut terms = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            name.clone_into(&mut heading);
        } else if let Some(row) = line.strip_prefix("| ") {
            let term = row.split(" |").next().unwrap_or_default().trim_matches('`');
            terms.push((heading.clone(), term.to_owned()));
        }
    }
    terms.retain(|(_, term)| term != "term");
    terms
}

/// Returns the text of all Rust files below a folder. Shipped code is below a `src`.
fn code(folder: &Path, of_tests: bool) -> String {
    let mut text = String::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_of_tests = path.ends_with("tests") || path.ends_with("tests.rs");
            if path.is_dir() && (of_tests || !is_of_tests) && !path.ends_with("target") {
                folders.push(path);
            } else if is_source(&path) && (of_tests || !is_of_tests) {
                text.push_str(&fs::read_to_string(path).expect("text"));
            }
        }
    }
    text
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// Whether code uses the term: as words, as a `snake_case` or as a `CamelCase` name.
fn is_used(code: &str, term: &str) -> bool {
    let camel: String = term.split(' ').map(capitalized).collect();
    code.contains(term) || code.contains(&term.replace(' ', "_")) || code.contains(&camel)
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

#[test]
fn every_term_in_the_glossary_is_used_in_the_code() {
    let crates = root().join("crates");
    let folders = fs::read_dir(&crates).expect("a folder");
    let sources = folders.map(|entry| entry.expect("a crate").path().join("src"));
    let shipped: String = sources
        .filter(|path: &PathBuf| !path.starts_with(crates.join("testkit")))
        .map(|source| code(&source, false))
        .collect();
    let tests = code(&root().join("tests"), true) + &code(&crates, true);
    let terms = terms();
    assert!(terms.len() > 20, "{terms:?}");
    for (heading, term) in &terms {
        let code = if heading == OF_TESTS {
            &tests
        } else {
            &shipped
        };
        assert!(is_used(code, term), "{term} is not used");
    }
}

#[test]
fn a_term_is_found_as_words_and_as_a_name() {
    for code in ["the wait queue", "mod wait_queue;", "struct WaitQueue;"] {
        assert!(is_used(code, "wait queue"), "{code}");
    }
    assert!(!is_used("the queue waits", "wait queue"));
}

#[test]
fn every_term_is_explained_in_one_place() {
    let mut names: Vec<String> = terms().into_iter().map(|(_, term)| term).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "a term has two entries");
}
