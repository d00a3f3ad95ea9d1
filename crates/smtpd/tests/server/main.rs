//! The server on real sockets, with a queue in memory.

mod accounts;
mod auth;
mod inbound_check;
mod local;
mod log;
mod policy;
mod proxy;
mod rewriting;
mod running;
mod sessions;
mod signing;
mod tls;
mod under_tls;
mod world;
