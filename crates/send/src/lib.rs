//! When to try what (qmail-send): the schedule, concurrency, retry, expiry and bounces.

pub mod deliver;

pub use deliver::{Attempt, Deliver, DestinationKey};
