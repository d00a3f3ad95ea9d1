//! Where mail goes by the configuration file.
//!
//! The daemon and the commands of `relayctl` get the settings of deliveries here, so a command makes the same
//! decisions as the daemon.
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
