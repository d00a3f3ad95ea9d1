//! Addresses that may relay for a limited time.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address that may relay until the given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryRelay {
    /// The address of the client.
    pub address: IpAddr,
    /// When the permission expires, in seconds since 1970.
    pub until: u64,
}
