//! What the tests of the other crates share: peers on loopback that do as they are told, and terminals.
//!
//! For tests only: everything here panics, with a reason, when a test's own set-up is wrong or a
//! deadline passes.

pub mod certificate;
pub mod dkim;
pub mod fake_dns;
pub mod fake_mx;
pub mod faulty_store;
pub mod terminal;

pub use certificate::Certificate;
pub use dkim::DkimVerifier;
pub use fake_dns::{FakeDns, Trouble};
pub use fake_mx::{FakeMx, Received, Step};
pub use faulty_store::FaultyStore;
pub use terminal::Terminal;

use std::time::Duration;

/// How long a test waits for an event before it fails.
pub const DEADLINE: Duration = Duration::from_secs(10);
