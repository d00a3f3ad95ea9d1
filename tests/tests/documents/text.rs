//! The documents, and the parts of their text that the tests look at.

use std::fs;
use std::path::{Path, PathBuf};

/// The documents outside `docs/`.
const AT_THE_TOP: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

/// Returns the folder of the workspace.
pub fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace is around its tests")
}

/// Returns the text of a file, by its path from the root.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the paths of all documents from the root, in order.
pub fn all() -> Vec<String> {
    let mut paths: Vec<String> = AT_THE_TOP.iter().map(ToString::to_string).collect();
    paths.extend(under_docs());
    paths
}

/// Returns the documents for administrators: README and `docs/`, without `docs/internals/`.
pub fn for_administrators() -> Vec<String> {
    let mut paths = vec!["README.md".to_owned()];
    paths.extend(under_docs().filter(|path| !path.starts_with("docs/internals/")));
    paths
}

fn under_docs() -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    collect(&root().join("docs"), &mut found);
    found.sort();
    let from_root = |path: PathBuf| {
        let path = path.strip_prefix(root()).expect("it is below the root");
        path.display().to_string()
    };
    found.into_iter().map(from_root)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// A document, split into its parts.
#[derive(Debug, Default)]
pub struct Parts {
    /// The blocks between fences: the word behind the opening fence, and the lines.
    pub blocks: Vec<(String, String)>,
    /// Everything else.
    pub prose: String,
}

impl Parts {
    pub fn of(text: &str) -> Self {
        let mut parts = Self::default();
        let mut is_open = false;
        for line in text.lines() {
            match (is_open, line.strip_prefix("```")) {
                (false, Some(language)) => {
                    parts.blocks.push((language.to_owned(), String::new()));
                    is_open = true;
                }
                (true, Some(_)) => is_open = false,
                (true, None) => {
                    let (_, block) = parts.blocks.last_mut().expect("it is open");
                    block.extend([line, "\n"]);
                }
                (false, None) => parts.prose.extend([line, "\n"]),
            }
        }
        assert!(!is_open, "a block without an end");
        parts
    }

    /// Returns the blocks in this language.
    pub fn blocks_in(&self, wanted: &str) -> impl Iterator<Item = &str> {
        let in_it = move |(language, _): &&(String, String)| language == wanted;
        self.blocks.iter().filter(in_it).map(|(_, text)| &**text)
    }

    /// Returns the texts between backticks.
    pub fn code_spans(&self) -> Vec<String> {
        let paragraphs = self.prose.split("\n\n");
        let spans = paragraphs.flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
        spans.map(|span| span.replace('\n', " ")).collect()
    }
}
