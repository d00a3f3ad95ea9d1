//! The requests that `relayctl` makes and the answers that the daemon gives: HTTP and JSON over a Unix
//! socket. This crate has the types only; it opens no socket and no file.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/audit` | [`Audit`] |
//! | `GET /v1/queue?FILTER` | an array of [`QueueEntry`], as a stream |
//! | `GET /v1/queue/ID` | [`Detail`], or `404` with [`Problem`] |
//! | `GET /v1/queue/ID/content` | the octets of the message as they would be sent, as a stream |
//! | `POST /v1/count` with a [`Scope`] | [`Count`] |
//! | `POST /v1/queue/VERB` with a [`Scope`] | [`VerbResult`] |
//! | `GET /v1/summary?FILTER` | [`Summary`] |
//! | `GET /v1/export?FILTER` | the messages as a stream of octets, for `relayd import` |
//! | `GET /v1/standing-rules` | [`StandingRules`] |
//! | `POST /v1/standing-rules` with a [`RuleVerb`] | [`RuleChange`] |
//! | `GET /v1/events?id=ID` or `?domain=DOMAIN` | the events of the log as they happen, one JSON object on each line; empty lines have no meaning |
//! | `GET /v1/acl` | an array of [`TemporaryRelay`] |
//! | `PUT /v1/acl/ADDRESS?seconds=N` | [`TemporaryRelay`] |
//! | `DELETE /v1/acl/ADDRESS` | `{}`, or `404` with [`Problem`] |
//! | `GET /v1/route?from=…&to=…` | [`Plan`] |
//! | `POST /v1/reload` | [`Reload`] |
//!
//! FILTER is a [`Filter`] as a query; VERB is the name of a [`Verb`]. Bodies of requests are JSON.
//!
//! Any other answer than `200` carries a [`Problem`]. Times are in seconds since 1970, sizes in octets.
//! A reader must accept unknown fields and states in an answer. The daemon refuses them in a request.

pub mod accounting;
mod filter;
pub mod queue;
mod route;
mod standing_rules;
pub mod status;
pub mod summary;
mod temporary_relay;
mod verb;

use serde::{Deserialize, Serialize};

pub use accounting::{Accounting, Audit};
pub use filter::{Condition, Filter, FilterError, QueryError, Scope};
pub use queue::{
    DeliveryState, Detail, Origin, PastAttempt, QueueEntry, Recipient, RecipientDetail, WaitsFor,
};
pub use route::{Plan, PlannedHost};
pub use standing_rules::{HoldRule, RuleChange, RuleVerb, StandingRules};
pub use status::{Alarm, Certificate, Destination, ListenerStatus, Messages, Status};
pub use summary::Summary;
pub use temporary_relay::TemporaryRelay;
pub use verb::{Count, Verb, VerbError, VerbResult};

/// The paths of the requests.
pub mod path {
    /// The status of the relay.
    pub const STATUS: &str = "/v1/status";
    /// Whether every accepted recipient is accounted for.
    pub const AUDIT: &str = "/v1/audit";
    /// The messages in the queue. With an id appended, that message; with a verb, a change.
    pub const QUEUE: &str = "/v1/queue";
    /// Appended to a message: its content.
    pub const CONTENT: &str = "content";
    /// How many messages a verb would apply to.
    pub const COUNT: &str = "/v1/count";
    /// The waiting recipients by destination and age.
    pub const SUMMARY: &str = "/v1/summary";
    /// The queue as a stream, for another machine.
    pub const EXPORT: &str = "/v1/export";
    /// The standing rules, and changes of them.
    pub const STANDING_RULES: &str = "/v1/standing-rules";
    /// The events of messages as they happen.
    pub const EVENTS: &str = "/v1/events";
    /// The addresses that may relay for a limited time. With an address appended, that one.
    pub const ACL: &str = "/v1/acl";
    /// The route from one address to another.
    pub const ROUTE: &str = "/v1/route";
    /// Reload the configuration.
    pub const RELOAD: &str = "/v1/reload";
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The reason, on one line.
    pub error: String,
}

/// The result of a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// What was not applied, and why; empty if everything was.
    pub problems: Vec<String>,
}
