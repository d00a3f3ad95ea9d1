//! The source of the time for this crate.

use std::time::SystemTime;

/// A source of the time. Tests have their own, so that a week passes in milliseconds.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the real time"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
