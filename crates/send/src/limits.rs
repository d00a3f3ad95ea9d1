//! The configured limits and times of the schedule.

use std::time::Duration;

use crate::retry::RetryPolicy;

/// How many attempts are under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// All attempts (qmail: concurrencyremote).
    pub overall: u32,
    /// Attempts at one destination.
    pub per_destination: u32,
}

/// The limits and times of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleLimits {
    /// How long and how often to try.
    pub retry: RetryPolicy,
    /// How many attempts are under way at once.
    pub concurrency: Concurrency,
    /// How long a message waits before its sender gets a delay notice, if one is wanted.
    pub notice_after: Duration,
}
