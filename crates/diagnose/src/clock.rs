//! The clock of this crate.

use std::time::SystemTime;

#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
