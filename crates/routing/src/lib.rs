//! Reads from the configuration file where mail goes: the settings of deliveries and the routes.
//!
//! The daemon and the commands of `relayctl` get the settings of deliveries here, so a command makes the same
//! decisions as the daemon. The crate reads the file, looks up the hostname, and asks the DNS for a
//! [`RouteQuery`]; it never connects to a mail server.
//!
//! - [`delivery_settings`], [`hostname`]: what a delivery needs to know besides the routes
//! - [`routes`]: the smarthosts, with their credentials
//! - [`load`], [`of_file`]: both together, for a file that was read strictly
//! - [`RouteQuery`]: the route that a message would take

mod query;
mod routes;
mod settings;

pub use self::query::{RouteQuery, RouteQueryError};
pub use self::routes::{RouteKeyError, RouteProblem, password_files, routes};
pub use self::settings::{delivery_settings, hostname, load, of_file};
