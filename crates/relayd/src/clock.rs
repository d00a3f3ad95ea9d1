//! The clock of the daemon itself. No decision about mail depends on it.

use std::time::{Instant, SystemTime};

/// Returns the current time. Certificates and permissions expire at calendar times.
#[expect(
    clippy::disallowed_methods,
    reason = "for what ends by the calendar, at the edge of the daemon"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns the moment from which the uptime is counted.
#[expect(clippy::disallowed_methods, reason = "for the uptime that qstat shows")]
pub(crate) fn started() -> Instant {
    Instant::now()
}
