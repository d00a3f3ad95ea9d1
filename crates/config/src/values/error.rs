//! Why a value is refused.

use relay_smtp::address::AddressError;
use relay_smtp::dns_name::NameError;
use relay_smtp::pattern::AddressPatternError;

/// Why a string is not a value of the type that its key has. Each variant has the string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The string does not have the form of the type.
    #[error("{text:?} is not {like}")]
    Malformed {
        /// The string.
        text: String,
        /// The expected form with an example.
        like: &'static str,
    },
    /// The string is not an address.
    #[error("{text:?} is not {like}: {reason}")]
    Address {
        /// The string.
        text: String,
        /// The expected form with an example.
        like: &'static str,
        /// What is wrong with the address.
        reason: AddressError,
    },
    /// The string is not a domain or a selector.
    #[error("{text:?} is not {like}: {reason}")]
    Name {
        /// The string.
        text: String,
        /// The expected form with an example.
        like: &'static str,
        /// What is wrong with the name.
        reason: NameError,
    },
    /// The string is not an address pattern.
    #[error(transparent)]
    Pattern(#[from] AddressPatternError),
    /// The duration is zero.
    #[error("{0:?} must be longer than zero")]
    ZeroDuration(String),
    /// The duration is shorter than a millisecond.
    #[error("{0:?} is less than a millisecond")]
    ShortDuration(String),
    /// The duration is longer than 3650 days.
    #[error("{0:?} is more than 3650 days")]
    LongDuration(String),
    /// The path of a Unix socket is longer than 107 octets.
    #[error("{0:?}: the path of a Unix socket can have at most {longest} bytes", longest = super::LONGEST_SOCKET)]
    LongSocketPath(String),
}
