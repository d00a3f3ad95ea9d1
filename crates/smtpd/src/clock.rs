//! The one place where this crate reads the time.

use std::time::SystemTime;

use tokio::time::Instant;

/// For deadlines.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// For the trace header and the queue.
#[expect(clippy::disallowed_methods, reason = "the driver's clock")]
pub(crate) fn today() -> SystemTime {
    SystemTime::now()
}
