//! The keys that both sides derive from a password, and the signatures made with them (RFC 5802
//! §3).

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::sasl::{Secret, prepare};

/// The length of a SHA-256 hash in octets.
pub(super) const HASH: usize = 32;

/// The keys that are derived from a password (RFC 5802 §3).
pub(super) struct Keys {
    salted: Zeroizing<[u8; HASH]>,
}

impl Keys {
    pub(super) fn derive(password: &Secret, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = Zeroizing::new([0; HASH]);
        let prepared = prepare(password.expose());
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            prepared.as_bytes(),
            salted.as_mut_slice(),
        );
        Self { salted }
    }

    pub(super) fn client(&self) -> Zeroizing<[u8; HASH]> {
        Zeroizing::new(keyed_hash(self.salted.as_slice(), b"Client Key"))
    }

    pub(super) fn stored(&self) -> [u8; HASH] {
        hash(self.client().as_slice())
    }

    pub(super) fn server(&self) -> [u8; HASH] {
        keyed_hash(self.salted.as_slice(), b"Server Key")
    }
}

/// `HMAC(key, message)`
pub(super) fn keyed_hash(key: &[u8], message: &[u8]) -> [u8; HASH] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    tag.as_ref().try_into().expect("a tag of SHA-256")
}

/// `H(octets)`
pub(super) fn hash(octets: &[u8]) -> [u8; HASH] {
    let digest = digest::digest(&digest::SHA256, octets);
    digest.as_ref().try_into().expect("a hash of SHA-256")
}
