//! Where this crate takes the time from.

use std::time::SystemTime;

/// The time of day. Tests bring their own, so that a week passes in milliseconds.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the real time comes in"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
