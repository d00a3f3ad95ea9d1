//! What an operator can find out without asking the daemon: whether mail from a domain will arrive
//! ([`check`]), how another server answers ([`probe`]), which hosts accept mail for a domain ([`mx`]), and
//! whether the DNS has the right records for the DKIM keys ([`dkim`]).
//!
//! The lookups and connections use the code that deliveries use. `relayctl` offers each module as a verb;
//! a module has the verb's arguments and a function that runs it and prints the result.

pub mod check;
mod clock;
mod config;
mod delivery_settings;
pub mod dkim;
mod error;
pub mod mx;
pub mod probe;

pub use self::config::{ConfigFile, LoadedConfig};
pub use self::delivery_settings::DnsArgs;
pub use self::error::Error;
