//! Time limits as instants.

use std::time::Duration;

use tokio::time::Instant;

/// No limit is longer: far enough for any delivery, and near enough for every clock.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// When a limit that begins now has passed.
pub(crate) fn after(limit: Duration) -> Instant {
    Instant::now() + limit.min(LONGEST)
}
