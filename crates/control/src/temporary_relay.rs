//! Addresses that may relay for a while.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One address that may relay until a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryRelay {
    /// The client.
    pub address: IpAddr,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}
