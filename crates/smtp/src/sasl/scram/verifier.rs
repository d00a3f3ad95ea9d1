//! The stored form of a password, and the nonces of an exchange.

use std::fmt;
use std::num::NonZeroU32;

use super::keys::{HASH, Keys};
use crate::sasl::{Secret, base64};

/// The data that a server stores instead of a password (RFC 5802 §2.2). It is enough to check a
/// client's proof, but not to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// The number of hash iterations.
    pub iterations: NonZeroU32,
    /// The salt.
    pub salt: Vec<u8>,
    /// `H(ClientKey)`
    pub stored_key: [u8; HASH],
    /// `ServerKey`, which the server proves itself with.
    pub server_key: [u8; HASH],
}

impl ScramVerifier {
    /// RFC 7677 §4: a server should not use fewer iterations.
    pub const MIN_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("not zero");

    /// Makes the verifier of a password, which must be prepared by [`crate::sasl::prepare`].
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

/// Hides the keys: together with salt and iteration count they allow guessing the password.
impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// The random part that one side adds so that each exchange is different (RFC 5802 §5.1). It is
/// printable and has no comma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(Box<str>);

impl Nonce {
    /// The octets of randomness in a nonce.
    pub const RANDOM: usize = 18;

    /// Makes a nonce from random octets. It must be used only once.
    pub fn from_random(octets: [u8; Self::RANDOM]) -> Self {
        Self(base64::encode(&octets).as_str().into())
    }

    /// The nonce of a published example.
    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self(text.into())
    }

    /// The text of the nonce in a message.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
