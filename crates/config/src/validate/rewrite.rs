//! `[rewrite]`

use crate::error::ConfigError;
use crate::key_path::{KeyStep, key};
use crate::strict::Strict;

impl Strict<'_> {
    /// Refuses a pair with a third element, and a sender that not every host accepts.
    pub(super) fn rewrite(&self) -> Result<(), ConfigError> {
        for (index, rule) in self.file.rewrite.from.iter().enumerate() {
            let path = [key("rewrite"), key("from"), KeyStep::Index(index)];
            let sender = &rule.1.0;
            if rule.2.is_some() {
                let reason =
                    "must be a pair: the addresses to replace, and the address to use instead";
                return Err(self.source.error_at(&path, reason));
            }
            if sender.needs_utf8() {
                let reason = format!(
                    "{sender}: a sender for all mail must be ASCII, because not every host accepts other addresses"
                );
                return Err(self.source.error_at(&path, reason));
            }
        }
        Ok(())
    }
}
