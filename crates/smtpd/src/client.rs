//! The identity of a client, and which clients are counted as one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The identity of a client for permissions, counters and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientId {
    /// A client with an IP address. IPv4-mapped addresses are stored as IPv4.
    Address(IpAddr),
    /// A user of this machine, as reported by the kernel.
    Uid(u32),
}

impl ClientId {
    /// The client that this one is counted as. All IPv6 addresses of a /64 count as one client (RFC 6177
    /// §2).
    pub(crate) fn counted_as(self) -> Self {
        match self {
            Self::Address(address) => Self::Address(network(address)),
            Self::Uid(uid) => Self::Uid(uid),
        }
    }
}

/// Formats the client for the log.
impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Uid(uid) => write!(f, "uid={uid}"),
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_64_counts_as_one_client_and_so_does_an_ipv4_address() {
        for (address, of) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::"),
            ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::"),
            ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ] {
            let peer = ClientId::Address(address.parse().expect(address));
            assert_eq!(peer.counted_as(), ClientId::Address(of.parse().expect(of)));
        }
    }

    #[test]
    fn each_user_of_this_machine_counts_as_one_client() {
        assert_eq!(ClientId::Uid(1000).counted_as(), ClientId::Uid(1000));
        assert_eq!(ClientId::Uid(1000).to_string(), "uid=1000");
    }
}
