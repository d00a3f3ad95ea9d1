//! Shared by the tests of the other crates: scripted peers on loopback, and terminals.
//!
//! For tests only. Everything here panics with a reason if a test's own setup is wrong or a
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
pub use fake_mx::{FakeMx, ReceivedMail, ScriptStep};
pub use faulty_store::FaultyStore;
pub use terminal::Terminal;

use std::time::Duration;

/// How long a test waits for an event before it fails.
pub const DEADLINE: Duration = Duration::from_secs(10);
