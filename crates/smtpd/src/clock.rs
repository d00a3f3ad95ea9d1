//! The one place where this crate reads the time.

use std::time::SystemTime;

use tokio::time::Instant;

/// The time for deadlines.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day, for the Received field and the queue.
#[expect(clippy::disallowed_methods, reason = "the driver's clock")]
pub(crate) fn today() -> SystemTime {
    SystemTime::now()
}
