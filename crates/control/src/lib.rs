//! The requests that `relayctl` makes and the answers that the daemon gives: HTTP and JSON over a Unix
//! socket. This crate has the types only; it opens no socket and no file.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/audit` | [`Audit`] |
//! | `GET /v1/queue?FILTER` | an array of [`Entry`], as a stream |
//! | `GET /v1/queue/ID` | [`Detail`], or `404` with [`Problem`] |
//! | `GET /v1/queue/ID/content` | the octets of the message as they go out, as a stream |
//! | `POST /v1/count`, a form that is a SCOPE | [`Count`] |
//! | `POST /v1/queue/VERB`, a form that is a SCOPE | [`VerbResult`] |
//! | `GET /v1/summary?FILTER` | [`Summary`] |
//! | `GET /v1/export?FILTER` | the messages as a stream of octets, for `relayd import` |
//! | `GET /v1/orders` | [`StandingRules`] |
//! | `POST /v1/orders/suspend`, `resume`, a form with `destination` | [`RuleChange`] |
//! | `POST /v1/orders/hold`, `release`, a form that is a SCOPE of `domain` and `sender` | [`RuleChange`] |
//! | `GET /v1/events?id=ID` or `?domain=DOMAIN` | the events of the log as they happen, an object of JSON on each line; empty lines mean nothing |
//! | `GET /v1/acl` | an array of [`TemporaryRelay`] |
//! | `PUT /v1/acl/ADDRESS?seconds=N` | [`TemporaryRelay`] |
//! | `DELETE /v1/acl/ADDRESS` | `{}`, or `404` with [`Problem`] |
//! | `GET /v1/route?from=…&to=…` | [`Plan`] |
//! | `POST /v1/reload` | [`Reload`] |
//!
//! FILTER is what [`Filter`] makes, SCOPE what [`Scope`] makes, VERB a [`Verb`].
//!
//! Any other answer than `200` carries a [`Problem`]. Times are seconds since 1970, sizes octets.
//! A reader must take fields and states that it does not know.

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
pub use filter::{Condition, Filter, FilterError, Scope};
pub use queue::{Attempt, Detail, Entry, Origin, Recipient, RecipientDetail, State, WaitsFor};
pub use route::{Plan, PlannedHost};
pub use standing_rules::{HoldRule, RuleChange, StandingRules};
pub use status::{Alarm, Certificate, Destination, Listener, Messages, Status};
pub use summary::Summary;
pub use temporary_relay::TemporaryRelay;
pub use verb::{Count, Verb, VerbError, VerbResult};

/// Where the daemon listens for `relayctl`, unless the operator says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/relayd/control.sock";

/// The paths of the requests.
pub mod path {
    /// How the relay does.
    pub const STATUS: &str = "/v1/status";
    /// Whether the books balance.
    pub const AUDIT: &str = "/v1/audit";
    /// What is in the queue; with an id behind a slash, that message; with a verb, that is done.
    pub const QUEUE: &str = "/v1/queue";
    /// Behind a message: its octets.
    pub const CONTENT: &str = "content";
    /// How many messages a verb would be about.
    pub const COUNT: &str = "/v1/count";
    /// What waits, by destination and age.
    pub const SUMMARY: &str = "/v1/summary";
    /// What is in the queue, for another machine.
    pub const EXPORT: &str = "/v1/export";
    /// What stands until it is taken back; with what is to be done behind a slash, that.
    pub const ORDERS: &str = "/v1/orders";
    /// The events of messages as they happen.
    pub const EVENTS: &str = "/v1/events";
    /// Who may relay for a while; with an address behind a slash, that one.
    pub const ACL: &str = "/v1/acl";
    /// Where mail from one address to another would go.
    pub const ROUTE: &str = "/v1/route";
    /// Read the configuration again.
    pub const RELOAD: &str = "/v1/reload";
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One line.
    pub error: String,
}

/// What became of a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// What was not applied, and why; empty if all was.
    pub problems: Vec<String>,
}
