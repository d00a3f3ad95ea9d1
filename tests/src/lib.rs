//! Shared by the end-to-end tests: the real `relayd` and `relayctl` on loopback, and a client.

mod client;
mod launch;
mod ledger;
mod load;
mod receivers;
mod relay;
mod trial;
mod volume;

use std::time::Duration;

pub use client::Client;
pub use launch::Launch;
pub use ledger::{Ledger, Verdict};
pub use load::Load;
pub use receivers::Receivers;
pub use relay::{Relay, check, help};
pub use trial::Trial;
pub use volume::Volume;

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);
