//! The numbers of the schedule, as the operator has configured them.

use std::time::Duration;

use crate::retry::RetryPolicy;

/// How much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Attempts in all (qmail: concurrencyremote).
    pub overall: u32,
    /// Attempts at one destination.
    pub per_destination: u32,
}

/// The numbers that a schedule goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long and how often to try.
    pub retry: RetryPolicy,
    /// How much at once.
    pub concurrency: Concurrency,
    /// How long a message waits until its sender is told, if it is to be told.
    pub notice_after: Duration,
}
