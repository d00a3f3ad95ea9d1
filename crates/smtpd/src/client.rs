//! What counts as one client.

use std::net::{IpAddr, Ipv6Addr};

/// The client that an address belongs to, for all that is counted per client: whoever has one IPv6
/// address has a whole /64 (RFC 6177 §2).
pub(crate) fn network(address: IpAddr) -> IpAddr {
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
    fn a_whole_64_is_one_client_and_an_ipv4_address_one_of_its_own() {
        for (address, of) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::"),
            ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::"),
            ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ] {
            let address = address.parse().expect(address);
            assert_eq!(network(address), of.parse::<IpAddr>().expect(of));
        }
    }
}
