//! How the relay does.

use serde::{Deserialize, Serialize};

use crate::accounting::Accounting;
use crate::standing_rules::StandingRules;

/// The answer to `qstat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Messages in the queue.
    pub messages: u64,
    /// Messages that no delivery attempt has been made for yet.
    pub fresh: u64,
    /// Messages that were damaged and have been set aside.
    pub damaged: u64,
    /// The messages in the queue, by state.
    pub states: Messages,
    /// What became of all recipients since the queue was made.
    #[serde(default, rename = "books")]
    pub accounting: Accounting,
    /// Deliveries that may run at the same time.
    pub concurrency: u64,
    /// What mail waits for, in the order of the names.
    pub destinations: Vec<Destination>,
    /// The daemon's version.
    pub version: String,
    /// Seconds since its start.
    pub uptime: u64,
    /// Where the queue is.
    pub state_dir: String,
    /// The open sockets.
    pub listeners: Vec<Listener>,
    /// Our certificates, as they are in use.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// What needs the operator.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// Whether the queue is still being read, after a start or a reload: what has not been read is
    /// not tried yet.
    #[serde(default)]
    pub reading: bool,
    /// Reports that were not made since the start, for their addressees had had too many.
    #[serde(default)]
    pub reports_suppressed: u64,
    /// What the operator has ordered and not taken back.
    #[serde(default, rename = "orders")]
    pub rules: StandingRules,
}

/// One of our certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The file it was read from.
    pub file: String,
    /// The names it is for.
    pub names: Vec<String>,
    /// When it ends.
    pub expires: u64,
    /// Whole days until then; negative once it is over.
    pub days_left: i64,
}

impl Certificate {
    /// With fewer days than this it is time to look why it has not been renewed.
    pub const WARNING_DAYS: i64 = 14;

    /// Whether the operator should look after it.
    pub fn needs_renewal(&self) -> bool {
        self.days_left < Self::WARNING_DAYS
    }
}

/// What keeps mail waiting: a smarthost that does not take us, or a queue that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What is concerned: `smtp.example.com:587`, or `the queue`.
    pub about: String,
    /// When it came up, as far as that is known, or else was noticed.
    pub since: u64,
    /// What was said.
    pub reason: String,
}

/// How many messages are in which state; each is in one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Messages {
    /// Waiting for a first attempt.
    pub queued: u64,
    /// Waiting for another attempt.
    pub deferred: u64,
    /// Being tried.
    pub in_flight: u64,
}

/// What shares slots and back-off: a domain, or a smarthost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The domain, or `smtp.example.com:587`.
    pub name: String,
    /// Messages that wait for it.
    pub waiting: u64,
    /// Deliveries that run.
    pub in_flight: u64,
    /// Deliveries that may run.
    pub slots: u64,
    /// When it will be tried again, if it is waited for.
    pub next_attempt: Option<u64>,
    /// What was wrong the last time.
    pub last_trouble: Option<String>,
}

/// An open socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Address and port.
    pub address: String,
    /// What it is for: `mx`.
    pub role: String,
}
