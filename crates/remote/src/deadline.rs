//! Time limits as instants.

use std::time::Duration;

use tokio::time::Instant;

/// The longest limit: longer than any delivery, and short enough that adding it to an instant
/// cannot overflow.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Returns the instant at which a limit that starts now ends.
pub(crate) fn after(limit: Duration) -> Instant {
    Instant::now() + limit.min(LONGEST)
}
