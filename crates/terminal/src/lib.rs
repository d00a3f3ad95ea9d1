//! The output of commands to a terminal and their input from it: text from others with its control
//! characters escaped, JSON, times, and passwords that are typed without being shown.

mod escape;
pub mod password;
mod time;

pub use self::escape::{escape, escape_json, print_json};
pub use self::time::{date, until};
