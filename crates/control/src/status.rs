//! The state of the relay.

use serde::{Deserialize, Serialize};

use crate::accounting::Accounting;
use crate::standing_rules::StandingRules;

/// The answer to `qstat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How many messages are in the queue.
    pub messages: u64,
    /// How many of them have had no delivery attempt yet.
    pub fresh: u64,
    /// How many damaged messages have been set aside.
    pub damaged: u64,
    /// The messages in the queue by state.
    pub states: Messages,
    /// What happened to all recipients since the queue was created.
    #[serde(default, rename = "books")]
    pub accounting: Accounting,
    /// How many deliveries may run at the same time.
    pub concurrency: u64,
    /// The destinations that mail waits for, sorted by name.
    pub destinations: Vec<Destination>,
    /// The version of the daemon.
    pub version: String,
    /// How long the daemon has been running, in seconds.
    pub uptime: u64,
    /// The directory of the queue.
    pub state_dir: String,
    /// The open sockets.
    pub listeners: Vec<ListenerStatus>,
    /// The certificates in use.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// The problems that need the operator.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// Whether the queue is still being read after a start or a reload. Messages that have not been
    /// read are not tried yet.
    #[serde(default)]
    pub reading: bool,
    /// How many reports were suppressed since the start, because their addressees had received too
    /// many.
    #[serde(default)]
    pub reports_suppressed: u64,
    /// The standing rules of the operator.
    #[serde(default, rename = "orders")]
    pub rules: StandingRules,
}

/// A certificate of the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The file that contains it.
    pub file: String,
    /// The names that it is valid for.
    pub names: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// Whole days until then; negative if it has expired.
    pub days_left: i64,
}

impl Certificate {
    /// If fewer days are left, the renewal has probably failed.
    pub const WARNING_DAYS: i64 = 14;

    /// Whether it expires so soon that the operator should be warned.
    pub fn needs_renewal(&self) -> bool {
        self.days_left < Self::WARNING_DAYS
    }
}

/// A problem that keeps mail waiting, such as a refused login at a smarthost, or a queue that cannot be
/// written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// The subject: `smtp.example.com:587`, or `the queue`.
    pub about: String,
    /// When it began or, if that is unknown, when it was noticed, in seconds since 1970.
    pub since: u64,
    /// The reason, in text.
    pub reason: String,
}

/// How many messages are in each state. Every message is in exactly one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Messages {
    /// The message waits for its first attempt.
    pub queued: u64,
    /// The message waits for another attempt.
    pub deferred: u64,
    /// An attempt is under way.
    pub in_flight: u64,
}

/// A destination, which has slots and pauses of its own: a domain, or a smarthost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The domain, or a smarthost such as `smtp.example.com:587`.
    pub name: String,
    /// How many messages wait for it.
    pub waiting: u64,
    /// How many deliveries are running.
    pub in_flight: u64,
    /// How many deliveries may run.
    pub slots: u64,
    /// When it will be tried again, in seconds since 1970; `None` if nothing waits for a time.
    pub next_attempt: Option<u64>,
    /// The reason of the last failure, if the last attempt failed.
    pub last_trouble: Option<String>,
}

/// An open socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// The address and port, or the path of a Unix socket.
    pub address: String,
    /// The role, such as `mx`.
    pub role: String,
}
