//! What a server keeps of a password, and what makes an exchange fresh.

use std::fmt;
use std::num::NonZeroU32;

use super::keys::{HASH, Keys};
use crate::sasl::{Secret, base64};

/// What a server keeps in place of a password (RFC 5802 §2.2): enough to check a client's proof,
/// not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// How often the password was hashed.
    pub iterations: NonZeroU32,
    /// What it was hashed with.
    pub salt: Vec<u8>,
    /// `H(ClientKey)`
    pub stored_key: [u8; HASH],
    /// `ServerKey`, by which the server proves itself.
    pub server_key: [u8; HASH],
}

impl ScramVerifier {
    /// RFC 7677 §4: a server should not ask for fewer.
    pub const MIN_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("not zero");

    /// The verifier of a password, which is prepared as [`crate::sasl::prepare`] says.
    pub fn from_password(password: &Secret, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let keys = Keys::derive(password, &salt, iterations);
        Self {
            iterations,
            salt,
            stored_key: keys.stored(),
            server_key: keys.server(),
        }
    }
}

/// Nothing of the keys: with salt and count they allow guessing at the password.
impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// A side's part of what makes an exchange unlike any other (RFC 5802 §5.1): printable, no comma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(Box<str>);

impl Nonce {
    /// Octets of randomness in a nonce.
    pub const RANDOM: usize = 18;

    /// A nonce of octets that nobody can foretell; to be used once.
    pub fn from_random(octets: [u8; Self::RANDOM]) -> Self {
        Self(base64::encode(&octets).as_str().into())
    }

    /// The nonce of a published exchange.
    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self(text.into())
    }

    /// As it goes into a message.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
