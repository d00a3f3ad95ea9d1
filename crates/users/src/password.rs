//! Derives the stored form of a password.

use std::num::NonZeroU32;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, try_generate_salt};
use relay_smtp::sasl::scram::ScramVerifier;
use relay_smtp::sasl::{Secret, prepare};

use super::record::User;
use relay_smtp::pattern::AddressPattern;

/// The iterations of the SCRAM verifier. A client computes them at every login, which takes tens of
/// milliseconds. RFC 7677 §4 requires 4096, and recommends more as machines get faster.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");

/// The system cannot supply random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be hashed: the system supplies no random numbers")]
pub struct HashError;

impl User {
    /// Creates a user with this password. It is stored as an argon2id hash with the parameters that
    /// the library recommends (19 MiB, two passes), and as the verifier for SCRAM. Each of them has
    /// its own random salt.
    ///
    /// This takes tens of milliseconds.
    pub fn with_password(
        password: &Secret,
        senders: Vec<AddressPattern>,
    ) -> Result<Self, HashError> {
        let hash = Argon2::default()
            .hash_password(prepare(password.expose()).as_bytes())
            .map_err(|_| HashError)?;
        let salt = try_generate_salt().map_err(|_| HashError)?;
        Ok(Self {
            password: hash.to_string(),
            scram: ScramVerifier::from_password(password, salt.to_vec(), ITERATIONS),
            senders,
        })
    }
}
