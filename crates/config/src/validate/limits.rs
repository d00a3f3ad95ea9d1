//! `[limits]`

use crate::error::ConfigError;
use crate::key_path::key;
use crate::strict::Strict;

/// The lowest limit for a line. RFC 5321 §4.5.3.1.6: a line of text may have 1000 octets. No size
/// means "unlimited", as 0 does in SIZE (RFC 1870 §4) and in qmail.
const LEAST_LINE: u64 = 1000;

impl Strict<'_> {
    /// Refuses sizes that are too small for one line.
    pub(super) fn limits(&self) -> Result<(), ConfigError> {
        let limits = &self.file.limits;
        for (name, size) in [
            ("message_size", &limits.message_size),
            ("header_size", &limits.header_size),
            ("line_length", &limits.line_length),
        ] {
            if size.0.as_u64() < LEAST_LINE {
                let reason = format!("{} must be at least {LEAST_LINE} bytes", size.0);
                return Err(self.source.error_at(&[key("limits"), key(name)], reason));
            }
        }
        Ok(())
    }
}
