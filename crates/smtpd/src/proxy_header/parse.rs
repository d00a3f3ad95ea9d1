//! The PROXY protocol, versions 1 and 2, by which a proxy names the client behind it.
//!
//! Specification: <https://www.haproxy.org/download/3.1/doc/proxy-protocol.txt>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::{self, FromStr};

/// The signature of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The beginning of version 1.
const PREFIX: &[u8; 6] = b"PROXY ";
/// The most octets of a version 1 header, including CR LF.
const LONGEST_V1: usize = 107;
/// The octets of a version 2 header before its addresses.
const FIXED_V2: usize = 16;
/// The most octets of a header that are read. A version 2 header may have any data after its
/// addresses.
pub(crate) const LONGEST: usize = 2048;

/// The result of parsing the octets so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// The header is not complete. All octets so far belong to it.
    Partial,
    /// The header is complete.
    Complete {
        /// The length of the header in octets. The octets after it are the client's.
        length: usize,
        /// The client that it names.
        client: ProxiedClient,
    },
    /// The octets are not a valid header.
    Invalid,
}

/// The client that a header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxiedClient {
    /// A client that connected to the proxy from this address.
    Address(IpAddr),
    /// The proxy itself, which makes a health check, or a client that the proxy cannot name.
    Unknown,
}

/// Parses the beginning of a connection.
pub(crate) fn parse(input: &[u8]) -> Header {
    if begins(input, SIGNATURE) {
        parse_v2(input)
    } else if begins(input, PREFIX) {
        parse_v1(input)
    } else {
        Header::Invalid
    }
}

/// Whether `input` begins with `start`, or is itself a beginning of it.
fn begins(input: &[u8], start: &[u8]) -> bool {
    let common = input.len().min(start.len());
    input[..common] == start[..common]
}

/// §2.1: one line of text.
fn parse_v1(input: &[u8]) -> Header {
    let room = &input[..input.len().min(LONGEST_V1)];
    let Some(end) = memchr::memchr(b'\n', room) else {
        return match room.len() {
            LONGEST_V1 => Header::Invalid,
            _ => Header::Partial,
        };
    };
    let line = room[..end].strip_suffix(b"\r").unwrap_or_default();
    match str::from_utf8(line).ok().and_then(client_of_line) {
        Some(client) => Header::Complete {
            length: end + 1,
            client,
        },
        None => Header::Invalid,
    }
}

fn client_of_line(line: &str) -> Option<ProxiedClient> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        // §2.1: the rest of an UNKNOWN line must be ignored.
        return Some(ProxiedClient::Unknown);
    }
    let (from, to) = (words.next()?, words.next()?);
    let client = match family {
        "TCP4" => source::<Ipv4Addr>(from, to)?.into(),
        "TCP6" => source::<Ipv6Addr>(from, to)?.into(),
        _ => return None,
    };
    let are_ports = is_port(words.next()?) && is_port(words.next()?);
    (are_ports && words.next().is_none()).then_some(ProxiedClient::Address(client))
}

/// Parses the first of two addresses of the same family.
fn source<A: FromStr>(from: &str, to: &str) -> Option<A> {
    to.parse::<A>().ok()?;
    from.parse().ok()
}

/// Parses a decimal number without leading zeros.
fn is_port(word: &str) -> bool {
    let is_plain = word == "0" || word.starts_with(|first: char| ('1'..='9').contains(&first));
    is_plain && word.parse::<u16>().is_ok()
}

/// §2.2: a binary header. Octets 15 and 16 contain its length.
fn parse_v2(input: &[u8]) -> Header {
    let Some((fixed, rest)) = input.split_at_checked(FIXED_V2) else {
        return Header::Partial;
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED_V2 + length > LONGEST {
        return Header::Invalid;
    }
    let Some(addresses) = rest.get(..length) else {
        return Header::Partial;
    };
    match client_of_block(fixed[12], fixed[13], addresses) {
        Some(client) => Header::Complete {
            length: FIXED_V2 + length,
            client,
        },
        None => Header::Invalid,
    }
}

/// The upper half of `command` is the version. `family` contains the address family and the
/// transport.
fn client_of_block(command: u8, family: u8, addresses: &[u8]) -> Option<ProxiedClient> {
    match (command, family) {
        // TCP over IPv4: two addresses and two ports.
        (0x21, 0x11) if addresses.len() >= 12 => {
            let source: [u8; 4] = addresses[..4].try_into().ok()?;
            Some(ProxiedClient::Address(source.into()))
        }
        // TCP over IPv6.
        (0x21, 0x21) if addresses.len() >= 36 => {
            let source: [u8; 16] = addresses[..16].try_into().ok()?;
            Some(ProxiedClient::Address(source.into()))
        }
        // LOCAL, and addresses that are unspecified or of Unix sockets: the addresses must be
        // ignored.
        (0x20, _) | (0x21, 0x00 | 0x31 | 0x32) => Some(ProxiedClient::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(address: &str) -> ProxiedClient {
        ProxiedClient::Address(address.parse().expect(address))
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).expect("a short block");
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(length.to_be_bytes());
        header.extend(addresses);
        header
    }

    fn complete(header: &[u8], client: ProxiedClient) -> Header {
        Header::Complete {
            length: header.len(),
            client,
        }
    }

    #[test]
    fn a_line_of_version_1_names_the_client() {
        for (line, client) in [
            (
                "PROXY TCP4 192.0.2.1 192.0.2.9 56324 25\r\n",
                at("192.0.2.1"),
            ),
            ("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", at("2001:db8::1")),
            ("PROXY UNKNOWN\r\n", ProxiedClient::Unknown),
            ("PROXY UNKNOWN ffff::1 x y z\r\n", ProxiedClient::Unknown),
        ] {
            assert_eq!(parse(line.as_bytes()), complete(line.as_bytes(), client));
            let more = format!("{line}EHLO c.test\r\n");
            assert_eq!(parse(more.as_bytes()), complete(line.as_bytes(), client));
        }
    }

    #[test]
    fn other_lines_are_invalid() {
        for line in [
            "EHLO c.test\r\n",
            "PROXY\r\n",
            "PROXY \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 56324 25\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 56324\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 56324 25 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 56324 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 +6324 25\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.9 06324 25\r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.9 56324 25\r\n",
            "PROXY TCP4 2001:db8::1 192.0.2.9 56324 25\r\n",
            "PROXY TCP4 192.0.2.1 mx.test 56324 25\r\n",
            "PROXY TCP6 192.0.2.1 ::1 56324 25\r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.9 56324 25\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.9 56324 25\r\n",
            "proxy UNKNOWN\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Header::Invalid, "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_V1));
        assert_eq!(parse(long.as_bytes()), Header::Invalid);
    }

    #[test]
    fn a_block_of_version_2_names_the_client() {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 9, 0xdc, 4, 0, 25];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        v6[15] = 1;
        let with_more = [&v4[..], &[4, 0, 1, 0]].concat();
        for (header, client) in [
            (v2(0x21, 0x11, &v4), at("192.0.2.1")),
            (v2(0x21, 0x11, &with_more), at("192.0.2.1")),
            (v2(0x21, 0x21, &v6), at("2001:db8::1")),
            (v2(0x20, 0x11, &v4), ProxiedClient::Unknown),
            (v2(0x20, 0xff, &[]), ProxiedClient::Unknown),
            (v2(0x21, 0x00, &[1, 2, 3]), ProxiedClient::Unknown),
            (v2(0x21, 0x31, &[0; 216]), ProxiedClient::Unknown),
        ] {
            assert_eq!(parse(&header), complete(&header, client));
        }
    }

    #[test]
    fn other_blocks_are_invalid() {
        for header in [
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; LONGEST]),
        ] {
            assert_eq!(parse(&header), Header::Invalid);
        }
    }

    fn any_header() -> impl Strategy<Value = Vec<u8>> {
        let line = (any::<[Ipv4Addr; 2]>(), any::<[u16; 2]>())
            .prop_map(|([from, to], [a, b])| format!("PROXY TCP4 {from} {to} {a} {b}\r\n").into());
        let wide_line = (any::<[Ipv6Addr; 2]>(), any::<[u16; 2]>())
            .prop_map(|([from, to], [a, b])| format!("PROXY TCP6 {from} {to} {a} {b}\r\n").into());
        let block = (any::<bool>(), prop::collection::vec(any::<u8>(), 36..200))
            .prop_map(|(wide, block)| v2(0x21, if wide { 0x21 } else { 0x11 }, &block));
        prop_oneof![line, wide_line, block]
    }

    proptest! {
        /// The reader consumes an incomplete header from the socket, so all of it must belong to
        /// the header.
        #[test]
        fn every_prefix_of_a_header_is_partial_and_the_rest_is_left(
            header in any_header(),
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            for cut in 0..header.len() {
                prop_assert_eq!(parse(&header[..cut]), Header::Partial);
            }
            let whole = [&header[..], &rest].concat();
            let is_left = matches!(parse(&whole), Header::Complete { length, client: ProxiedClient::Address(_) } if length == header.len());
            prop_assert!(is_left);
        }

        #[test]
        fn any_octets_give_a_result_within_the_longest_header(
            start in prop_oneof![Just(&b""[..]), Just(&PREFIX[..]), Just(&SIGNATURE[..])],
            octets in prop::collection::vec(any::<u8>(), LONGEST),
        ) {
            let input = [start, &octets].concat();
            match parse(&input) {
                Header::Partial => prop_assert!(false, "no header is that long"),
                Header::Complete { length, .. } => prop_assert!(length <= LONGEST),
                Header::Invalid => {}
            }
        }
    }
}
