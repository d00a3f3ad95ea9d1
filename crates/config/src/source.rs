//! The text of a file, with the lines of its keys.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::deserializer;
use crate::error::{self, ConfigError};
use crate::key_path::{KeyStep, Place, Table};
use crate::named_file::NamedFile;

/// The text of a configuration file. It finds the line for an error about a key.
#[derive(Debug)]
pub struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    tree: DeTable<'a>,
}

impl<'a> Source<'a> {
    /// Reads the text as TOML. `file` is the name of the file in errors.
    pub(crate) fn parse(file: &'a Path, text: &'a str) -> Result<Self, ConfigError> {
        match DeTable::parse(text) {
            Ok(tree) => Ok(Self {
                file,
                text,
                tree: tree.into_inner(),
            }),
            Err(error) => Err(ConfigError::not_toml(file, text, &error)),
        }
    }

    /// The name of the file.
    pub fn file(&self) -> &'a Path {
        self.file
    }

    pub(crate) fn tree(&self) -> &DeTable<'a> {
        &self.tree
    }

    /// Returns an error about the value at this path. Its line is that of the value, or that of the table
    /// around it if the file does not have the value.
    pub fn error_at(&self, path: &[KeyStep], reason: impl fmt::Display) -> ConfigError {
        self.error(path, format!("{}: {reason}", Place(path)))
    }

    /// Returns an error about a whole table.
    pub fn error_in(&self, table: &[KeyStep], reason: impl fmt::Display) -> ConfigError {
        self.error(table, format!("{} {reason}", Table(table)))
    }

    /// Returns the error for a problem that the deserializer found.
    pub(crate) fn error_of(&self, error: &deserializer::Error) -> ConfigError {
        let path = error.path.as_deref().unwrap_or_default();
        self.error(path, error::reason(path, &error.problem))
    }

    fn error(&self, path: &[KeyStep], reason: String) -> ConfigError {
        ConfigError::new(self.file, self.line_at(path), reason)
    }

    /// Returns a file that the configuration names at this path.
    pub fn named(&self, path: &[KeyStep], file: &Path) -> NamedFile {
        NamedFile::new(file, self.file, self.line_at(path), Place(path).to_string())
    }

    /// Returns the line of the value at this path, or that of the table around it.
    fn line_at(&self, path: &[KeyStep]) -> Option<usize> {
        let span = (0..=path.len())
            .rev()
            .find_map(|length| self.span_of(&path[..length]));
        span.map(|span| error::line_of(self.text, span.start))
    }

    /// Returns the span of the key of the value at `path`, or of the element of a list.
    fn span_of(&self, path: &[KeyStep]) -> Option<Range<usize>> {
        let mut found = None;
        let mut table = Some(&self.tree);
        let mut array = None;
        for step in path {
            let (span, value) = match step {
                KeyStep::Key(key) => {
                    let (key, value) = table?.iter().find(|(k, _)| k.get_ref() == key)?;
                    (key.span(), value)
                }
                KeyStep::Index(index) => {
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
}
