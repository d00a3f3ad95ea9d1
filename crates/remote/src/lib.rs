//! One delivery attempt (qmail-remote): route, MX, connect, client session, verdict.
//!
//! [`Remote::deliver`] never fails: it returns one outcome for each recipient, whatever the DNS, the
//! network and the peer do. It resolves the route from the current configuration at every attempt,
//! and keeps nothing between attempts but open connections and the resolver's cache.
//!
//! - [`hostname`]: what we are called where nobody says otherwise
//! - [`config`], [`route`]: what the operator decides, and where a recipient's mail goes by it
//! - `plan`: the same decision told in advance
//! - [`dns`], `mx`: which hosts take mail for a domain
//! - [`policy`], `broken_tls`: what TLS is demanded of a host, and what is remembered of it
//! - `credentials`, `secrets`, `login`: who we are for a smarthost, and what proves it
//! - `attempt`: the walk over hosts and addresses
//! - `connection`, `stream`, `tls`, `content`: one connection, and what goes over it
//! - `pool`, `terms`: connections that wait, and what for
//! - `classify`: the only place where what happened becomes a verdict
//! - `alarms`, `events`: what the operator must look after, and what is logged from here
//! - `observer`: who is told of a delivery under way
//! - `limits`: how long things may take

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
pub mod hostname;
mod job;
mod login;
mod mx;
mod observer;
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
pub use content::{Body, Content};
pub use credentials::{RouteCredentials, SecretSource};
pub use job::Job;
pub use observer::Observer;
pub use policy::{AsConfigured, Destination, TlsPolicy, TlsRule};
pub use preview::{DecidedBy, Preview, PreviewedHost, preview, preview_by_mx};
pub use remote::Remote;
pub use route::{NextHop, Route, RouteError, RouteHost, RouteTls, SenderPattern, next_hop};
pub use stream::Duplex;
pub use tls::{Inspector, Presented, TlsFailure, TrustError, check_ca_file};
