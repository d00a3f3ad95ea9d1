//! Values as they are written in the file.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use relay_dkim::{Domain, Selector};
use relay_smtp::Mailbox;
use relay_smtp::address::is_domain;
use relay_smtp::pattern::{AddressPattern, AddressPatternError, DomainPattern};
use relay_smtpd::Address;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A value that is written as a string.
pub(super) trait Written: Sized {
    /// What it looks like, for whoever wrote something else.
    const LIKE: &'static str;

    /// The value; the error says what the string should have been.
    fn read(text: &str) -> Result<Self, String>;
}

/// A string of the file that has been read as a `T`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text<T>(pub(super) T);

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

/// The values behind a list of strings.
pub(super) fn values<T>(texts: Vec<Text<T>>) -> Vec<T> {
    texts.into_iter().map(|text| text.0).collect()
}

/// A retry or a timeout after less than this would be work without a pause.
const SHORTEST: Duration = Duration::from_millis(1);
/// Nothing here lasts longer than a computer; from any time of today it still reaches one that the
/// system knows.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// Times of nothing make no sense anywhere in the file.
impl Written for Duration {
    const LIKE: &'static str = r#"a duration such as "400s", "5m" or "5d""#;

    fn read(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Err(format!("{text:?} is no time at all")),
            Ok(duration) if duration < SHORTEST => {
                Err(format!("{text:?} is less than a millisecond"))
            }
            Ok(duration) if duration > LONGEST => Err(format!("{text:?} is more than 3650 days")),
            Ok(duration) => Ok(duration),
            Err(_) => Err(format!("{text:?} is not {}", Self::LIKE)),
        }
    }
}

/// A time, or the word that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Never<T>(pub(super) Option<T>);

impl Written for Never<Duration> {
    const LIKE: &'static str = r#""never" or a duration such as "4h""#;

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self(None)),
            text if humantime::parse_duration(text).is_err() => {
                Err(format!("{text:?} is not {}", Self::LIKE))
            }
            text => Duration::read(text).map(Some).map(Self),
        }
    }
}

/// The system has no path that is empty or has a NUL in it.
impl Written for PathBuf {
    const LIKE: &'static str = r#"a path such as "/var/lib/relayd""#;

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            Err(format!("{text:?} is not {}", Self::LIKE))
        } else {
            Ok(text.into())
        }
    }
}

impl Written for ByteSize {
    const LIKE: &'static str = r#"a size such as "64KiB" or "25MiB""#;

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is not {}", Self::LIKE))
    }
}

impl Written for IpNet {
    const LIKE: &'static str = r#"a network such as "192.0.2.0/24" or "2001:db8::/32""#;

    /// A lone address is the network of that address. IPv4 in the form of IPv6 is IPv4, as it is
    /// for clients (RFC 4291 §2.5.5.2).
    fn read(text: &str) -> Result<Self, String> {
        let lone = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let network = text.parse().ok().or_else(lone);
        let network: IpNet = network.ok_or_else(|| format!("{text:?} is not {}", Self::LIKE))?;
        Ok(unmapped(network).unwrap_or(network))
    }
}

/// The IPv4 network that is meant by one in `::ffff:0:0/96`.
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

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is not {}", Self::LIKE))
    }
}

/// Octets of the path of a Unix socket, as the system takes it (unix(7)).
const LONGEST_SOCKET: usize = 107;

impl Written for Address {
    const LIKE: &'static str = r#"an address and a port such as "[::]:25", or a Unix socket such as "unix:/run/relayd/submit.sock""#;

    fn read(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            let address = text.parse().map(Self::Tcp);
            return address.map_err(|_| format!("{text:?} is not {}", Self::LIKE));
        };
        if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
            Err(format!("{text:?} is not {}", Self::LIKE))
        } else if path.len() > LONGEST_SOCKET {
            let reason = format!("a Unix socket has at most {LONGEST_SOCKET} bytes of path");
            Err(format!("{text:?}: {reason}"))
        } else {
            Ok(Self::Unix(path.into()))
        }
    }
}

impl Written for Mailbox {
    const LIKE: &'static str = r#"an address such as "postmaster@example.org""#;

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|reason| format!("{text:?} is not {}: {reason}", Self::LIKE))
    }
}

impl Written for Domain {
    const LIKE: &'static str = r#"a domain such as "example.org""#;

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|reason| format!("{text:?} is not {}: {reason}", Self::LIKE))
    }
}

impl Written for Selector {
    const LIKE: &'static str = r#"a selector such as "mail""#;

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|reason| format!("{text:?} is not {}: {reason}", Self::LIKE))
    }
}

impl Written for AddressPattern {
    const LIKE: &'static str = r#"a pattern such as "root@*" or "*@.example.org""#;

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|reason: AddressPatternError| reason.to_string())
    }
}

impl Written for DomainPattern {
    const LIKE: &'static str = r#"a domain such as "example.org" or ".example.org""#;

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .ok()
            .filter(Self::names_a_domain)
            .ok_or_else(|| format!("{text:?} is not {}", Self::LIKE))
    }
}

/// A name for ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostName(pub(super) String);

impl Written for HostName {
    const LIKE: &'static str = r#"a host name such as "mail.example.org""#;

    fn read(text: &str) -> Result<Self, String> {
        if is_domain(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is not {}", Self::LIKE))
        }
    }
}

/// How many of something; never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count(pub(super) u32);

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

/// A port that can be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port(pub(super) u16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole_number(deserializer, "a port, 1 to 65535").map(Port)
    }
}

/// A number above zero that fits `T`.
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
