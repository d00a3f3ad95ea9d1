//! The place of a value in the configuration.

use std::fmt;

/// One step of the path to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStep {
    /// A key of a table.
    Key(String),
    /// An element of a list, counted from 0.
    Index(usize),
}

/// Returns the step to a key of a table.
pub fn key(key: &str) -> KeyStep {
    KeyStep::Key(key.to_owned())
}

/// A path as an operator writes it, such as `queue.retry_unit`. It leaves out indices: the line of an error
/// shows which element of a list is meant.
pub(crate) struct Place<'a>(pub(crate) &'a [KeyStep]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().filter_map(|step| match step {
            KeyStep::Key(key) => Some(key),
            KeyStep::Index(_) => None,
        });
        for (i, key) in keys.enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "." }, key.escape_debug())?;
        }
        Ok(())
    }
}

/// The header of a table, such as `[queue]` or `[[route]]`.
pub(crate) struct Table<'a>(pub(crate) &'a [KeyStep]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.last() {
            Some(KeyStep::Index(_)) => write!(f, "[[{}]]", Place(self.0)),
            _ => write!(f, "[{}]", Place(self.0)),
        }
    }
}
