//! Reads the file strictly: the first problem is an error.

use std::fs;
use std::path::Path;

use crate::deserializer::Tree;
use crate::error::ConfigError;
use crate::schema::File;
use crate::source::Source;

/// A valid file, with the lines of its keys.
#[derive(Debug)]
pub struct Strict<'a> {
    /// The keys and values.
    pub file: File,
    /// The lines of the keys.
    pub source: Source<'a>,
}

impl<'a> Strict<'a> {
    /// Reads and validates the text of a file. `file` is the name of the file in errors.
    pub fn parse(file: &'a Path, text: &'a str) -> Result<Self, ConfigError> {
        let source = Source::parse(file, text)?;
        let tree = Tree {
            root: source.tree(),
            skipped: &[],
        };
        let read = tree.read().map_err(|error| source.error_of(&error))?;
        let strict = Self { file: read, source };
        strict.validate()?;
        Ok(strict)
    }
}

/// Reads the text of a configuration file.
pub fn read_text(file: &Path) -> Result<String, ConfigError> {
    let bytes = fs::read(file)
        .map_err(|reason| ConfigError::of_file(file, format!("cannot be read: {reason}")))?;
    text_of(file, bytes)
}

/// Decodes the octets of a file.
pub(crate) fn text_of(file: &Path, bytes: Vec<u8>) -> Result<String, ConfigError> {
    String::from_utf8(bytes).map_err(|reason| {
        let valid = reason.utf8_error().valid_up_to();
        ConfigError::not_utf8(file, &reason.as_bytes()[..valid])
    })
}
