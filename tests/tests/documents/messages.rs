//! The output of `relayctl` that the documents explain is output that it prints.

use std::fs;
use std::path::Path;

use crate::text::{self, Parts};

/// A page, and the beginnings of quotations on it that must be in the source.
const QUOTED: &[(&str, &[&str])] = &[
    ("docs/operating.md", &["waits for "]),
    (
        "docs/monitoring.md",
        &[
            "alarm: ",
            "damaged messages ",
            "warning: ",
            "the queue is ",
            "reports not ",
        ],
    ),
];

fn source(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            source(&path, text);
        } else {
            text.push_str(&fs::read_to_string(path).expect("text"));
        }
    }
}

/// Returns the part of a quotation that does not vary: without the field name before it, and up to
/// a placeholder.
fn fixed(quoted: &str) -> &str {
    let text = quoted.strip_prefix("waits for ").unwrap_or(quoted);
    let end = text.find(['…', 'N']).unwrap_or(text.len());
    let end = text.find("FILE").map_or(end, |at| at.min(end));
    text[..end].trim_end()
}

#[test]
fn the_output_that_the_documents_explain_exists() {
    let mut code = String::new();
    source(&text::root().join("crates/relayctl/src"), &mut code);
    for (page, beginnings) in QUOTED {
        let spans = Parts::of(&text::read(page)).code_spans();
        for beginning in *beginnings {
            let mut quoted = spans
                .iter()
                .filter(|span| span.starts_with(beginning))
                .peekable();
            assert!(
                quoted.peek().is_some(),
                "{page} does not explain {beginning:?}"
            );
            for quoted in quoted {
                let fixed = fixed(quoted);
                assert!(
                    code.contains(fixed),
                    "{page}: relayctl never prints {fixed:?}"
                );
            }
        }
    }
}
