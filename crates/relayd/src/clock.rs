//! The clock of the daemon itself; no decision about mail hangs on it.

use std::time::{Instant, SystemTime};

/// Certificates and permissions end by the calendar.
#[expect(
    clippy::disallowed_methods,
    reason = "for what ends by the calendar, at the edge of the daemon"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// The uptime counts from here.
#[expect(clippy::disallowed_methods, reason = "for the uptime that qstat shows")]
pub(crate) fn started() -> Instant {
    Instant::now()
}
