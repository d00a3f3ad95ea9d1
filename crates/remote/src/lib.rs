//! One delivery attempt, as `qmail-remote` makes it: route, MX lookup, connection, session,
//! outcome.
//!
//! [`Remote::deliver`] never fails. It returns one outcome for each recipient, no matter what the
//! DNS, the network and the peer do. Each attempt uses the current configuration. Between attempts
//! the crate keeps only idle connections, the resolver's cache and a few facts about hosts that had
//! trouble.
//!
//! - [`config`], [`route`]: the operator's settings, and which way a recipient's mail takes
//! - `preview`: the same decision without a delivery
//! - [`dns`], `mx`: which hosts accept mail for a domain
//! - [`policy`], `broken_tls`: which TLS a host must offer, and which hosts had broken TLS
//! - `credentials`, `secrets`, `login`: the user name and password for a smarthost
//! - `attempt`: the loop over hosts and addresses
//! - `connection`, `stream`, `tls`, `content`: one connection and the data that it carries
//! - `pool`, `pool_key`: idle connections, and which deliveries may reuse them
//! - `classify`: the only place that turns an event into a verdict
//! - `alarms`, `events`: problems that the operator must solve, and the log
//! - `deadline`: time limits as instants

mod alarms;
mod attempt;
mod broken_tls;
mod classify;
pub mod config;
mod connection;
mod content;
mod credentials;
mod deadline;
pub mod dns;
mod events;
mod login;
mod mx;
pub mod policy;
mod pool;
mod pool_key;
mod preview;
mod remote;
pub mod route;
mod secrets;
mod stream;
mod tls;

pub use alarms::Alarm;
pub use config::{Config, IpFamily};
pub use credentials::{RouteCredentials, SecretSource};
pub use policy::{AsConfigured, Destination, TlsPolicy, TlsRule};
pub use preview::{DecidedBy, Preview, PreviewedHost, preview, preview_by_mx};
pub use remote::Remote;
pub use route::{NextHop, Route, RouteError, RouteHost, RouteTls, next_hop};
pub use stream::Duplex;
pub use tls::{Inspector, Presented, TlsFailure, TrustError, check_ca_file};
