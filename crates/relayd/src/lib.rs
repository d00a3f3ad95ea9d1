//! The relay daemon (qmail-start): configuration, wiring, signals, log, control API, demo.
//!
//! This crate makes no decisions about mail. Other crates do: `smtpd` accepts mail, `queue` stores
//! it, `send` schedules deliveries, and `remote` makes them.
//!
//! | module | content |
//! |---|---|
//! | [`config`] | the configuration file, read strictly |
//! | [`log`] | events as lines of text or JSON |
//! | [`daemon`] | start and stop |
//! | `shared` | the state that the parts of the daemon share, and the reload |
//! | `users`, `temporary_relay` | users who may log in, and temporary permissions to relay |
//! | `standing_rules` | suspended destinations, and hold rules for incoming mail |
//! | `certificates`, `watch`, `clock` | expiry of certificates, changes of files, the clock |
//! | [`fsck`] | checks and repairs the queue while the relay does not run |
//! | [`export`], [`import`] | writes the queue to a stream, and adds such a stream to a queue |
//! | `api` | the control API for `relayctl` |
//! | [`demo`] | a demonstration on loopback |

mod api;
mod certificates;
mod clock;
pub mod config;
pub mod daemon;
pub mod demo;
mod events;
pub mod export;
pub mod fsck;
pub mod import;
pub mod log;
mod maildrop;
mod queue_note;
mod role;
mod shared;
mod signing;
mod standing_rules;
mod statedir;
mod store;
mod temporary_relay;
mod users;
mod watch;

pub use statedir::OwnerError;
