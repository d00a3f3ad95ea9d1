//! One delivery attempt (qmail-remote): route, MX, connect, client session, verdict.
//!
//! [`Remote::deliver`] never fails: it returns one outcome for each recipient, whatever the DNS, the
//! network and the peer do. It resolves the route from the current configuration at every attempt,
//! and keeps nothing between attempts but open connections and the resolver's cache.
//!
//! - [`config`], [`route`]: what the operator decides, and where a recipient's mail goes by it
//! - `dns`, `mx`: which hosts take mail for a domain
//! - `attempt`: the walk over hosts and addresses
//! - `connection`, `content`, `pool`: one connection, what goes over it, and those that wait
//! - `classify`: the only place where what happened becomes a verdict
//! - `events`: what is logged from here
//! - `limits`: how long things may take

mod attempt;
mod classify;
pub mod config;
mod connection;
mod content;
mod dns;
mod events;
mod limits;
mod mx;
mod pool;
mod remote;
pub mod route;

pub use config::{Config, IpFamily};
pub use content::{Body, Content};
pub use remote::{Job, Remote};
pub use route::{NextHop, Route, RouteError, RouteHost, next_hop};
