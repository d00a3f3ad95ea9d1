//! The relay daemon (qmail-start): configuration, wiring, signals, log, control API, demo.
//!
//! It decides nothing about mail. The crates it puts together do: `smtpd` takes mail in, `queue`
//! keeps it, `send` says when to try, `remote` tries.
//!
//! | module | its idea |
//! |---|---|
//! | [`config`] | the file, read strictly |
//! | [`log`] | events as lines of text or JSON |
//! | [`daemon`] | start, reload, stop |
//! | `delivery` | `remote` plugged into `send` |
//! | `api` | what `relayctl` asks |
//! | [`demo`] | the whole way of a message on one screen |

mod api;
pub mod config;
pub mod daemon;
mod delivery;
pub mod demo;
mod events;
pub mod log;
mod statedir;
