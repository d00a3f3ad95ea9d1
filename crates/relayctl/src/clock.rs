//! The clock of this program.

use std::time::SystemTime;

#[expect(clippy::disallowed_methods, reason = "the clock of this program")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
