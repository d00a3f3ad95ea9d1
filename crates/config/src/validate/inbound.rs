//! `[inbound]`

use std::time::Duration;

use crate::error::ConfigError;
use crate::key_path::{KeyStep, key};
use crate::strict::Strict;

/// The largest number of block lists. Each of them is queried about every client.
const MAX_LISTS: usize = 16;

/// The longest time for lookups. A client waits for them before its next reply, and gives up after
/// some minutes (RFC 5321 §4.5.3.2).
const LONGEST: Duration = Duration::from_mins(1);

impl Strict<'_> {
    /// Refuses block lists that cannot be right, and lookups that a client would not wait for.
    pub(super) fn inbound(&self) -> Result<(), ConfigError> {
        let inbound = &self.file.inbound;
        let error = |path: &[KeyStep], reason: String| Err(self.source.error_at(path, reason));
        for (index, zone) in inbound.dnsbl.iter().enumerate() {
            let path = [key("inbound"), key("dnsbl"), KeyStep::Index(index)];
            let name = zone.0.as_str();
            if !name.contains('.') {
                let reason = format!("{name:?} is not a list such as \"zen.spamhaus.org\"");
                return error(&path, reason);
            }
            if inbound.dnsbl[..index].contains(zone) {
                return error(&path, format!("{name:?} is listed twice"));
            }
        }
        if inbound.dnsbl.len() > MAX_LISTS {
            let reason = format!("every client is looked up in each list: use at most {MAX_LISTS}");
            return error(&[key("inbound"), key("dnsbl")], reason);
        }
        if inbound.timeout.0 > LONGEST {
            let reason = "clients would give up first: use at most 60s".to_owned();
            return error(&[key("inbound"), key("timeout")], reason);
        }
        Ok(())
    }
}
