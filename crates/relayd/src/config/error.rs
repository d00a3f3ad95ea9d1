//! What is wrong with the file, said in one line.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::files::NamedFile;

/// Why a configuration cannot be used: the file, the line where there is one, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    pub(super) file: PathBuf,
    pub(super) line: Option<usize>,
    pub(super) reason: String,
}

impl ConfigError {
    /// An error that no single line is to blame for.
    pub(super) fn of_file(file: &Path, reason: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            reason: reason.into(),
        }
    }

    /// Behind `before`, the file is something else than text.
    pub(super) fn not_utf8(file: &Path, before: &[u8]) -> Self {
        Self {
            file: file.to_owned(),
            line: Some(line_behind(before)),
            reason: "not UTF-8 text".to_owned(),
        }
    }
}

/// `/etc/relayd/relayd.toml:12: unknown key "domian" in [[route]] (did you mean "domain"?)`
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.reason)
    }
}

/// A file's text, to say where in it something stands.
pub(super) struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    tree: DeTable<'a>,
}

/// One step down to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A key as the file has it: `queue.retry_unit`; the place in a list of tables is told by the line.
struct Place<'a>(&'a [Step]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key),
            Step::Index(_) => None,
        });
        for (i, key) in keys.enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "." }, key.escape_debug())?;
        }
        Ok(())
    }
}

impl<'a> Source<'a> {
    /// Reads the text as TOML.
    pub(super) fn parse(file: &'a Path, text: &'a str) -> Result<Self, ConfigError> {
        match DeTable::parse(text) {
            Ok(tree) => Ok(Self {
                file,
                text,
                tree: tree.into_inner(),
            }),
            Err(error) => Err(ConfigError {
                file: file.to_owned(),
                line: error.span().map(|span| line_of(text, span.start)),
                reason: reason_of_toml(text, &error),
            }),
        }
    }

    /// An error about the value at this path, or if it is not in the file about what it is in.
    pub(super) fn error_at(&self, path: &[Step], reason: impl fmt::Display) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            line: self.line_at(path),
            reason: format!("{}: {reason}", Place(path)),
        }
    }

    /// An error about a whole table.
    pub(super) fn error_in(&self, table: &[Step], reason: impl fmt::Display) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            line: self.line_at(table),
            reason: format!("{} {reason}", Table(table)),
        }
    }

    /// A file that is named at this path.
    pub(super) fn named(&self, path: &[Step], file: &Path) -> NamedFile {
        NamedFile::new(file, self.file, self.line_at(path), Place(path).to_string())
    }

    /// The line of the value at this path, or if it is not in the file of what it is in.
    fn line_at(&self, path: &[Step]) -> Option<usize> {
        let parts = (0..=path.len()).rev();
        let span = parts
            .map(|n| &path[..n])
            .find_map(|part| self.span_of(part));
        span.map(|span| line_of(self.text, span.start))
    }

    /// What serde found, in the operator's words.
    pub(super) fn error_of_serde(&self, error: &toml::de::Error) -> ConfigError {
        let path = error.span().and_then(|span| self.path_of(&span));
        let path = path.unwrap_or_default();
        ConfigError {
            file: self.file.to_owned(),
            line: error.span().map(|span| line_of(self.text, span.start)),
            reason: reason_of(&path, error.message()),
        }
    }

    /// Where the key of the value at `path` stands.
    fn span_of(&self, path: &[Step]) -> Option<Range<usize>> {
        let mut found = None;
        let mut table = Some(&self.tree);
        let mut array = None;
        for step in path {
            let (span, value) = match step {
                Step::Key(key) => {
                    let (key, value) = table?.iter().find(|(k, _)| k.get_ref() == key)?;
                    (key.span(), value)
                }
                Step::Index(index) => {
                    let value: &Spanned<DeValue<'_>> = array?;
                    let value = value.get_ref().get(*index)?;
                    (value.span(), value)
                }
            };
            found = Some(span);
            table = value.get_ref().as_table();
            array = Some(value);
        }
        found
    }

    /// Which key or value stands at `span`.
    fn path_of(&self, span: &Range<usize>) -> Option<Vec<Step>> {
        let mut path = Vec::new();
        find_in_table(&self.tree, span, &mut path).then_some(path)
    }
}

fn find_in_table(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<Step>) -> bool {
    table.iter().any(|(key, value)| {
        path.push(Step::Key(key.get_ref().to_string()));
        let found = key.span() == *span || find_in_value(value, span, path);
        if !found {
            path.pop();
        }
        found
    })
}

fn find_in_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: &mut Vec<Step>) -> bool {
    let within = match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, span, path),
        DeValue::Array(array) => array.iter().enumerate().any(|(i, value)| {
            path.push(Step::Index(i));
            let found = find_in_value(value, span, path);
            if !found {
                path.pop();
            }
            found
        }),
        _ => false,
    };
    // A list of tables has the span of its first one, which is the more precise place.
    within || value.span() == *span
}

/// The key on the line where text is no TOML, if it has one. What stands behind it is not repeated:
/// it could be a password in the wrong place.
fn key_before(text: &str, offset: usize) -> Option<&str> {
    let line = text.get(..offset)?.rfind('\n').map_or(0, |end| end + 1);
    let (key, _) = text[line..].lines().next()?.split_once('=')?;
    let key = key.trim();
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!key.is_empty() && key.chars().all(is_bare)).then_some(key)
}

/// Lines count from 1.
fn line_of(text: &str, offset: usize) -> usize {
    line_behind(text.as_bytes().get(..offset).unwrap_or_default())
}

fn line_behind(before: &[u8]) -> usize {
    before.split(|&b| b == b'\n').count()
}

/// What the parser says, which does not name the key that stands twice.
fn reason_of_toml(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    match error.span().and_then(|span| text.get(span)) {
        Some(key) if message == "duplicate key" => {
            format!("{message} {:?}", key.trim_matches(['"', '\'']))
        }
        _ => match error.span().and_then(|span| key_before(text, span.start)) {
            Some(key) => format!("{key}: {message}"),
            None => message,
        },
    }
}

fn reason_of(path: &[Step], message: &str) -> String {
    let message = message.replace('\n', " ");
    let place = Place(path).to_string();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown_key(path, rest);
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("{} needs the key {}", Table(path), key.replace('`', "\""));
    }
    let message = message
        .replace("unknown variant ", "unknown value ")
        .replace("expected a sequence", "expected a list")
        .replace('`', "\"");
    if place.is_empty() {
        message
    } else {
        format!("{place}: {message}")
    }
}

/// `rest` is "`domian`, expected one of `domain`, `host`".
fn unknown_key(path: &[Step], rest: &str) -> String {
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let nearest = names
        .map(|known| (distance(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4);
    let hint = nearest.map_or_else(String::new, |(_, known)| {
        format!(" (did you mean \"{known}\"?)")
    });
    let table = path.split_last().map_or(&[][..], |(_, table)| table);
    match table {
        [] => format!("unknown key {unknown:?}{hint}"),
        table => format!("unknown key {unknown:?} in {}{hint}", Table(table)),
    }
}

/// A table's own header: `[queue]`, `[[route]]`.
struct Table<'a>(&'a [Step]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.last() {
            Some(Step::Index(_)) => write!(f, "[[{}]]", Place(self.0)),
            _ => write!(f, "[{}]", Place(self.0)),
        }
    }
}

/// Levenshtein's distance, with two neighbours that changed places counted as one change.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let plain = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + changed);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            row.push(if swapped {
                plain.min(rows[i - 2][j - 2] + 1)
            } else {
                plain
            });
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
