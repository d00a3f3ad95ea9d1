//! When to try what (qmail-send): the schedule, concurrency, retry, expiry, and what senders are told.
//!
//! [`start`] delivers what is in the store and what [`Handle::accepted`] tells of. What is decided
//! without I/O stands in [`schedule`], [`destination`] and [`retry`], which know neither store nor
//! clock; what is done with it in the tasks of `attempt` and `report`, started by the one task of
//! `runner`, which also carries out the operator's verbs. This crate never speaks SMTP and never
//! looks at a disk.
//!
//! It promises that a recipient is never in two attempts at once; that what an attempt has come to is
//! recorded, however often the store has to be asked; and that every recipient is delivered to or
//! failed by its expiry, unless the operator holds it.

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
mod hold;
mod job;
mod progress;
mod quota;
mod recipients;
mod report;
pub mod retry;
mod rules;
mod runner;
mod scan;
pub mod schedule;
mod sign;
mod status;
mod verb;
mod wait_queue;

pub use clock::{Clock, SystemClock};
pub use config::{Config, ReportPolicy, StandingRules};
pub use handle::Handle;
pub use hold::HoldRule;
pub use retry::RetryPolicy;
pub use runner::start;
pub use schedule::{Concurrency, DestinationStatus};
pub use sign::Sign;
pub use status::{Status, StoreTrouble};
pub use verb::Applied;
