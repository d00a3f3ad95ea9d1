//! The configuration file `relayd.toml`.
//!
//! This crate has the schema with every key and its default, the types of the values, and the checks that
//! need nothing but the file. It does no more I/O than reading the file and asking for the hostname.
//!
//! - The daemon reads the file strictly with [`Strict`]: the first problem is an error with its line and key.
//! - Commands read it leniently with [`Lenient`]: a key with a problem has its default, and the command
//!   decides which problems matter to it.
//!
//! To add a key, add it to [`schema`], to the mapping in the program that uses it, and to `etc/relayd.toml`.
//!
//! - [`schema`]: tables, keys and defaults
//! - [`values`]: durations, sizes, networks and other values that are written as strings
//! - [`hostname`]: the default for the relay's own name

mod deserializer;
mod error;
pub mod hostname;
mod key_path;
mod lenient;
mod named_file;
mod networks;
pub mod schema;
mod source;
mod strict;
mod validate;
pub mod values;

pub use error::ConfigError;
pub use key_path::{KeyStep, key};
pub use lenient::{FileError, Lenient};
pub use named_file::NamedFile;
pub use source::Source;
pub use strict::{Strict, read_text};
pub use values::ListenAddress;

/// The path of the configuration file, unless the operator names another one.
pub const DEFAULT_FILE: &str = "/etc/relayd/relayd.toml";
