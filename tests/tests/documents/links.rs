//! Every relative link leads to a file that exists, and to a heading of it.

use std::path::Path;

use crate::text::{self, Parts};

/// Returns the targets of the links in a document, as they are written.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    let rest = prose.split("](").skip(1);
    let targets = rest.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

/// Returns the anchor that a heading gets on the usual hosting pages.
fn anchor(heading: &str) -> String {
    let kept: String = heading
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect();
    kept.to_lowercase().replace(' ', "-")
}

fn has_heading(text: &str, wanted: &str) -> bool {
    let prose = Parts::of(text).prose;
    let mut headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

/// Returns the fault of a link, if it has one.
fn fault(document: &str, target: &str) -> Option<String> {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() {
        text::root().join(document)
    } else {
        let folder = Path::new(document).parent().expect("it is a file");
        text::root().join(folder).join(file)
    };
    if !path.exists() {
        return Some(format!("{document}: {target} does not exist"));
    }
    if heading.is_empty() {
        return None;
    }
    let text = std::fs::read_to_string(&path).expect("a text");
    (!has_heading(&text, heading)).then(|| format!("{document}: {target} has no such heading"))
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading_that_exist() {
    let mut count = 0;
    let mut faults = Vec::new();
    for document in text::all() {
        let prose = Parts::of(&text::read(&document)).prose;
        let found: Vec<_> = links(&prose).collect();
        count += found.len();
        faults.extend(found.iter().filter_map(|target| fault(&document, target)));
    }
    assert!(count > 50, "only {count} links were found");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_page_under_docs_is_in_its_index() {
    let index = text::read("docs/README.md");
    for document in text::all() {
        let Some(page) = document.strip_prefix("docs/") else {
            continue;
        };
        let is_listed = page == "README.md" || links(&index).any(|target| target == page);
        assert!(is_listed, "{page} is not in docs/README.md");
    }
}

#[test]
fn a_broken_link_is_noticed() {
    assert_eq!(fault("docs/README.md", "install.md"), None);
    assert_eq!(fault("docs/README.md", "install.md#who-may-relay"), None);
    assert!(fault("docs/README.md", "nothing.md").is_some());
    assert!(fault("docs/README.md", "install.md#nothing").is_some());
}
