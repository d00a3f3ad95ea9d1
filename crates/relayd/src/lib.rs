//! The relay daemon (qmail-start): configuration, wiring, signals, log, control API, demo.
//!
//! It decides nothing about mail. The crates it puts together do: `smtpd` takes mail in, `queue`
//! keeps it, `send` says when to try, `remote` tries.
//!
//! | module | its idea |
//! |---|---|
//! | [`config`] | the file, read strictly |
//! | [`log`] | events as lines of text or JSON |
//! | [`daemon`] | start and stop |
//! | `shared` | what its parts share, and how it takes a new configuration |
//! | `users`, `grants` | who may log in, and who may relay for a while |
//! | `orders` | what is suspended, and what is held as it comes in |
//! | `certificates`, `watch`, `clock` | when certificates end, and which files have changed |
//! | [`plan`] | where mail would go |
//! | [`fsck`] | the queue of a relay that does not run, checked and mended |
//! | [`export`], [`import`] | the queue as a stream; what was exported elsewhere, taken in |
//! | `api` | what `relayctl` asks |
//! | [`demo`] | the whole way of a message on one screen |

mod api;
mod certificates;
mod clock;
pub mod config;
pub mod daemon;
pub mod demo;
mod events;
pub mod export;
pub mod fsck;
mod grants;
pub mod import;
pub mod log;
mod maildrop;
mod orders;
pub mod plan;
mod role;
mod shared;
mod signing;
mod statedir;
mod store;
mod users;
mod watch;
