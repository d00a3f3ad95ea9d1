//! The configuration file `relayd.toml`.
//!
//! This crate has the schema with every key and its default, the types of the values, and the checks that
//! need nothing but the file. Its only I/O is reading the file and looking up the hostname.
//!
//! - The daemon reads the file strictly with [`Strict`]: the first problem is an error with its line and key.
//! - Commands read it leniently with [`Lenient`]: a key with a problem gets its default, and the command
//!   decides which problems are errors.
//!
//! To add a key, add it to [`schema`], to the mapping in the program that uses it, and to `etc/relayd.toml`.
//!
//! - [`schema`]: tables, keys and defaults
//! - [`values`]: durations, sizes, networks and other values that are written as strings
//! - [`hostname`]: the name of this machine, which is the default of `hostname`

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
