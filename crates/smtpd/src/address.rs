//! The address of a listener.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The address that a listener is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenerAddress {
    /// An IP address and a port. `[::]` also accepts IPv4, unless `0.0.0.0` has the same port.
    Tcp(SocketAddr),
    /// The path of a Unix socket, for users of this machine.
    Unix(PathBuf),
}

impl ListenerAddress {
    /// Returns the IP address and port, or `None` for a Unix socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for ListenerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// Formats the address as it is written in the configuration.
impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
