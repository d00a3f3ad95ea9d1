//! The server on real sockets, with a queue in memory.

mod running;
mod sessions;
mod world;
