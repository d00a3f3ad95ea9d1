//! The address of a listener.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The address that a listener is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Address and port; `[::]` takes IPv4 as well, unless `0.0.0.0` has that port beside it.
    Tcp(SocketAddr),
    /// The path of a Unix socket, for users of this machine.
    Unix(PathBuf),
}

impl Address {
    /// Address and port, if that is what it is.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// As the configuration has it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
