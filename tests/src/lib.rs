//! What the end-to-end tests share: the real `relayd` and `relayctl` on loopback, and a client.

mod client;
mod relay;

use std::time::Duration;

pub use client::Client;
pub use relay::{Relay, check};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);
