//! Every source file that the documents for developers name exists.

use std::path::PathBuf;

use crate::text::{self, Parts};

/// Documents that name files as `crate/file.rs`, below the `src` of that crate, or from the root.
const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/internals/queue.md",
];

/// Returns the words of a document that may be paths: in its blocks, and between backticks.
fn words(parts: &Parts) -> Vec<String> {
    let blocks = parts.blocks.iter().map(|(_, block)| block.clone());
    let texts = blocks.chain(parts.code_spans());
    let split = |text: String| -> Vec<String> {
        let words = text.split_whitespace();
        words
            .map(|word| word.trim_matches([',', ':', ';', '(', ')']).to_owned())
            .collect()
    };
    texts.flat_map(split).collect()
}

/// Returns the file that a word names if it is a path into a crate or below a folder of the
/// repository.
fn path(word: &str) -> Option<PathBuf> {
    let (first, rest) = word.split_once('/')?;
    let mut rest_chars = rest.chars();
    if first.is_empty() || !rest_chars.all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c)) {
        return None;
    }
    let source = text::root().join("crates").join(first).join("src");
    if source.exists() {
        return Some(source.join(rest));
    }
    let folder = text::root().join(first);
    (folder.is_dir() && first != "target").then(|| folder.join(rest))
}

#[test]
fn every_source_file_that_the_documents_name_exists() {
    let mut count = 0;
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let words = words(&Parts::of(&text::read(document)));
        for (word, path) in words.iter().filter_map(|word| Some((word, path(word)?))) {
            count += 1;
            // A module may be named without its extension.
            if !path.exists() && !path.with_extension("rs").exists() {
                missing.push(format!("{document}: {word}"));
            }
        }
    }
    assert!(count > 50, "only {count} paths were found");
    assert!(missing.is_empty(), "{missing:#?}");
}
