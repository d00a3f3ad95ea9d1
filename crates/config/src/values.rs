//! The types of the values: how each is written, and which values are refused.

mod error;

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use relay_smtp::Mailbox;
use relay_smtp::address::is_domain;
use relay_smtp::dns_name::{Domain, Selector};
use relay_smtp::pattern::{AddressPattern, DomainPattern};
use serde::de::{self, Deserialize, Deserializer, Visitor};

pub use error::ValueError;

/// A value that is written as a string.
pub trait Written: Sized {
    /// The expected form with an example, for error messages.
    const LIKE: &'static str;

    /// Reads the value. Returns an error if the string has another form, or if the value is out of range.
    fn read(text: &str) -> Result<Self, ValueError>;
}

fn malformed<T: Written>(text: &str) -> ValueError {
    ValueError::Malformed {
        text: text.to_owned(),
        like: T::LIKE,
    }
}

/// A `T` that is written as a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<T>(
    /// The value.
    pub T,
);

impl<'de, T: Written> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<T: Written> Visitor<'_> for Reader<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::LIKE)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
                T::read(text).map(Text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Reader(PhantomData))
    }
}

/// Returns the values in a list.
pub fn values<T>(texts: Vec<Text<T>>) -> Vec<T> {
    texts.into_iter().map(|text| text.0).collect()
}

/// With a shorter interval or timeout the relay would retry without a pause.
const SHORTEST: Duration = Duration::from_millis(1);
/// No duration needs to be longer, and the system can represent the time after this duration.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// No key can have a duration of zero.
impl Written for Duration {
    const LIKE: &'static str = r#"a duration such as "400s", "5m" or "5d""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Err(ValueError::ZeroDuration(text.to_owned())),
            Ok(duration) if duration < SHORTEST => Err(ValueError::ShortDuration(text.to_owned())),
            Ok(duration) if duration > LONGEST => Err(ValueError::LongDuration(text.to_owned())),
            Ok(duration) => Ok(duration),
            Err(_) => Err(malformed::<Self>(text)),
        }
    }
}

/// A duration, or the word `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Never<T>(
    /// The duration; `None` for `never`.
    pub Option<T>,
);

impl Written for Never<Duration> {
    const LIKE: &'static str = r#""never" or a duration such as "4h""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        match text {
            "never" => Ok(Self(None)),
            text if humantime::parse_duration(text).is_err() => Err(malformed::<Self>(text)),
            text => Duration::read(text).map(Some).map(Self),
        }
    }
}

/// A path cannot be empty or contain a NUL.
impl Written for PathBuf {
    const LIKE: &'static str = r#"a path such as "/var/lib/relayd""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() || text.contains('\0') {
            Err(malformed::<Self>(text))
        } else {
            Ok(text.into())
        }
    }
}

impl Written for ByteSize {
    const LIKE: &'static str = r#"a size such as "64KiB" or "25MiB""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        text.parse().map_err(|_| malformed::<Self>(text))
    }
}

impl Written for IpNet {
    const LIKE: &'static str = r#"a network such as "192.0.2.0/24" or "2001:db8::/32""#;

    /// An address without a prefix length is a network of one address. An IPv4-mapped IPv6 network
    /// (RFC 4291 §2.5.5.2) is read as IPv4, because the addresses of clients are read in the same way.
    fn read(text: &str) -> Result<Self, ValueError> {
        let network = text
            .parse()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let network: IpNet = network.ok_or_else(|| malformed::<Self>(text))?;
        Ok(unmapped(network).unwrap_or(network))
    }
}

/// Returns the IPv4 network that corresponds to a network in `::ffff:0:0/96`.
fn unmapped(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(mapped) = network else {
        return None;
    };
    let address = mapped.addr().to_ipv4_mapped()?;
    let length = mapped.prefix_len().checked_sub(96)?;
    IpNet::new(address.into(), length).ok()
}

impl Written for SocketAddr {
    const LIKE: &'static str = r#"an address and a port such as "[::]:25" or "127.0.0.1:2525""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        text.parse().map_err(|_| malformed::<Self>(text))
    }
}

/// The address of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port. `[::]` accepts IPv4 as well, unless another listener has `0.0.0.0` with this port.
    Tcp(SocketAddr),
    /// The path of a Unix socket, for the users of this machine.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address and the port of a TCP listener.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

/// Formats the address as it is written in the file.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The longest path of a Unix socket in octets (unix(7)).
const LONGEST_SOCKET: usize = 107;

impl Written for ListenAddress {
    const LIKE: &'static str = r#"an address and a port such as "[::]:25", or a Unix socket such as "unix:/run/relayd/submit.sock""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        let Some(path) = text.strip_prefix("unix:") else {
            let address = text.parse().map(Self::Tcp);
            return address.map_err(|_| malformed::<Self>(text));
        };
        if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
            Err(malformed::<Self>(text))
        } else if path.len() > LONGEST_SOCKET {
            Err(ValueError::LongSocketPath(text.to_owned()))
        } else {
            Ok(Self::Unix(path.into()))
        }
    }
}

impl Written for Mailbox {
    const LIKE: &'static str = r#"an address such as "postmaster@example.org""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        text.parse().map_err(|reason| ValueError::Address {
            text: text.to_owned(),
            like: Self::LIKE,
            reason,
        })
    }
}

impl Written for Domain {
    const LIKE: &'static str = r#"a domain such as "example.org""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        text.parse().map_err(|reason| ValueError::Name {
            text: text.to_owned(),
            like: Self::LIKE,
            reason,
        })
    }
}

impl Written for Selector {
    const LIKE: &'static str = r#"a selector such as "mail""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        text.parse().map_err(|reason| ValueError::Name {
            text: text.to_owned(),
            like: Self::LIKE,
            reason,
        })
    }
}

impl Written for AddressPattern {
    const LIKE: &'static str = r#"a pattern such as "root@*" or "*@.example.org""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        Ok(text.parse()?)
    }
}

impl Written for DomainPattern {
    const LIKE: &'static str = r#"a domain such as "example.org" or ".example.org""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        text.parse()
            .ok()
            .filter(Self::names_a_domain)
            .ok_or_else(|| malformed::<Self>(text))
    }
}

/// The name of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(
    /// The name.
    pub String,
);

impl Written for HostName {
    const LIKE: &'static str = r#"a host name such as "mail.example.org""#;

    fn read(text: &str) -> Result<Self, ValueError> {
        if is_domain(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(malformed::<Self>(text))
        }
    }
}

/// A number, 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(
    /// The number.
    pub u32,
);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole_number(deserializer, "a number, 1 or more").map(Count)
    }
}

impl From<Count> for usize {
    fn from(count: Count) -> usize {
        usize::try_from(count.0).unwrap_or(usize::MAX)
    }
}

/// A TCP port, from 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(
    /// The port.
    pub u16,
);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole_number(deserializer, "a port, 1 to 65535").map(Port)
    }
}

/// Reads a number above zero that fits into `T`.
fn whole_number<'de, D, T>(deserializer: D, like: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    struct Reader<T>(&'static str, PhantomData<T>);
    impl<T: TryFrom<i64>> Visitor<'_> for Reader<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            let positive = (number > 0).then_some(number);
            positive
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(|| E::custom(format!("{number} is not {}", self.0)))
        }
    }
    deserializer.deserialize_i64(Reader(like, PhantomData))
}

#[cfg(test)]
mod tests;
