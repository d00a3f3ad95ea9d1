//! The scheduler of the relay (qmail-send): concurrency, retries, expiry and reports to senders.
//!
//! [`start`] delivers the messages in the store and those given to [`Handle::accepted`]. Decisions
//! without I/O are in [`schedule`], [`destination`] and [`retry`], which know neither store nor
//! clock. The tasks of `attempt` and `report` carry them out. The task of `runner` starts them and
//! applies the operator's verbs. This crate never speaks SMTP and never reads a disk.
//!
//! It promises three things. A recipient is never in two attempts at once. The result of an attempt
//! is recorded, even if the store fails for a while. Every recipient is delivered to or failed by
//! its expiry, unless the operator holds the message.

mod action;
mod active_message;
mod attempt;
pub mod bounce;
pub mod clock;
mod completion;
mod config;
mod context;
pub mod destination;
mod destination_queue;
mod draft;
mod events;
mod handle;
mod hold_rules;
mod job;
mod limits;
mod progress;
mod quota;
mod recipients;
mod report;
pub mod retry;
mod runner;
mod scan;
pub mod schedule;
mod sign;
mod status;
mod wait_queue;

pub use clock::{Clock, SystemClock};
pub use config::{Config, ReportPolicy, StandingRules};
pub use handle::Handle;
pub use hold_rules::HoldRule;
pub use retry::RetryPolicy;
pub use runner::start;
pub use schedule::{Concurrency, DestinationStatus};
pub use sign::{Sign, SigningError};
pub use status::{Status, StoreTrouble};
