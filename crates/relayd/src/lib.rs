//! The relay daemon (qmail-start): it reads the configuration, puts the crates together, and answers
//! `relayctl`.
//!
//! - [`config`]: the configuration file, checked to the last key
//! - [`log`]: the form of the log
//! - [`daemon`]: from start to stop; `delivery` plugs `remote` into `send`
//! - `api`: the control API behind `relayctl`
//! - [`demo`]: all of it on loopback

mod api;
pub mod config;
pub mod daemon;
mod delivery;
pub mod demo;
mod events;
pub mod log;
