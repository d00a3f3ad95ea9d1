//! `[[dkim]]`

use std::collections::HashSet;
use std::time::Duration;

use crate::error::ConfigError;
use crate::key_path::{KeyStep, key};
use crate::schema;
use crate::strict::Strict;

impl Strict<'_> {
    /// Refuses signatures that expire too early, and two keys with one name in DNS.
    pub(super) fn dkim(&self) -> Result<(), ConfigError> {
        let mut names = HashSet::new();
        for (index, table) in self.file.dkim.iter().enumerate() {
            self.dkim_expire(index, table)?;
            let (domain, selector) = (&table.domain.0, &table.selector.0);
            if !names.insert((domain, selector)) {
                let reason = format!(
                    "{domain} already has a key with the selector {selector}: \
                     give each key its own selector"
                );
                return Err(self.source.error_at(&place(index, "selector"), reason));
            }
        }
        Ok(())
    }

    fn dkim_expire(&self, index: usize, table: &schema::Dkim) -> Result<(), ConfigError> {
        let error = |reason: String| Err(self.source.error_at(&place(index, "expire"), reason));
        let lifetime = self.file.queue.lifetime.0;
        match table.expire.0.0 {
            // RFC 6376 §3.5: the time of expiry is in whole seconds.
            Some(expire) if expire < Duration::from_secs(1) => {
                error("signatures would expire at once".to_owned())
            }
            Some(expire) if expire < lifetime => error(format!(
                "signatures would expire while mail still waits: \
                 use at least queue.lifetime ({})",
                humantime::format_duration(lifetime)
            )),
            _ => Ok(()),
        }
    }
}

fn place(index: usize, name: &str) -> [KeyStep; 3] {
    [key("dkim"), KeyStep::Index(index), key(name)]
}
