//! Configuration errors, each in one line.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::deserializer::Problem;
use crate::key_path::{KeyStep, Place, Table};

/// Why a configuration cannot be used: the file, the line if there is one, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    reason: String,
}

impl ConfigError {
    pub(crate) fn new(file: &Path, line: Option<usize>, reason: String) -> Self {
        Self {
            file: file.to_owned(),
            line,
            reason,
        }
    }

    /// Returns an error about the file as a whole.
    pub fn of_file(file: &Path, reason: impl Into<String>) -> Self {
        Self::new(file, None, reason.into())
    }

    /// Returns the error for a file that is not UTF-8 after the octets `before`.
    pub(crate) fn not_utf8(file: &Path, before: &[u8]) -> Self {
        Self::new(file, Some(line_after(before)), "not UTF-8 text".to_owned())
    }

    pub(crate) fn not_toml(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|span| line_of(text, span.start));
        Self::new(file, line, reason_of_toml(text, error))
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

/// Returns the key on the line where the text is not TOML, if there is one. The value does not appear in
/// errors, because it could be a password in the wrong place.
fn key_before(text: &str, offset: usize) -> Option<&str> {
    let line = text.get(..offset)?.rfind('\n').map_or(0, |end| end + 1);
    let (key, _) = text[line..].lines().next()?.split_once('=')?;
    let key = key.trim();
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!key.is_empty() && key.chars().all(is_bare)).then_some(key)
}

/// Returns the number of the line at this offset, counted from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    line_after(text.as_bytes().get(..offset).unwrap_or_default())
}

fn line_after(before: &[u8]) -> usize {
    before.split(|&b| b == b'\n').count()
}

/// The parser's message for a key that a table has twice. A test fails if the parser changes it.
const DUPLICATE_KEY: &str = "duplicate key";

/// Returns the parser's message with the key, which the parser does not name.
fn reason_of_toml(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    let Some(span) = error.span() else {
        return message;
    };
    // The span of this error is the second key itself; a value or a header would not follow.
    if message == DUPLICATE_KEY
        && let Some(key) = text.get(span.clone())
    {
        return format!("{message} {:?}", key.trim_matches(['"', '\'']));
    }
    match key_before(text, span.start) {
        Some(key) => format!("{key}: {message}"),
        None => message,
    }
}

/// Returns the message for a problem at `path`.
pub(crate) fn reason(path: &[KeyStep], problem: &Problem) -> String {
    let text = match problem {
        Problem::UnknownKey { known } => return unknown_key(path, known),
        Problem::MissingKey(key) => return format!("{} needs the key \"{key}\"", Table(path)),
        Problem::WrongType { found, expected } => {
            format!("invalid type: {found}, expected {expected}")
        }
        Problem::UnknownValue { found, known } => {
            format!("unknown value {found:?}, expected {}", one_of(known))
        }
        Problem::WrongLength { found, expected } => {
            format!("invalid length {found}, expected {expected}")
        }
        Problem::Invalid(reason) => reason.clone(),
    };
    match path {
        [] => text,
        path => format!("{}: {text}", Place(path)),
    }
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.as_slice() {
        [first, second] => format!("{first} or {second}"),
        [only] => only.clone(),
        all => format!("one of {}", all.join(", ")),
    }
}

fn unknown_key(path: &[KeyStep], known: &[&str]) -> String {
    let Some((KeyStep::Key(unknown), table)) = path.split_last() else {
        return "unknown key".to_owned();
    };
    let hint = nearest(unknown, known)
        .map_or_else(String::new, |known| format!(" (did you mean \"{known}\"?)"));
    match table {
        [] => format!("unknown key {unknown:?}{hint}"),
        table => format!("unknown key {unknown:?} in {}{hint}", Table(table)),
    }
}

/// How many characters of a key are compared. The cost grows with their square.
const LONGEST_COMPARED: usize = 64;

/// Returns the known key that is most similar to an unknown one, if they differ in few letters.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let unknown: String = unknown.chars().take(LONGEST_COMPARED).collect();
    known
        .iter()
        .map(|known| (strsim::osa_distance(&unknown, known), *known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .map(|(_, known)| known)
}
