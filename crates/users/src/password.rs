//! A password made into what is kept of it.

use std::num::NonZeroU32;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, try_generate_salt};
use relay_smtp::sasl::scram::ScramVerifier;
use relay_smtp::sasl::{Secret, prepare};

use super::record::User;
use relay_smtp::pattern::AddressPattern;

/// Rounds of the SCRAM verifier. A client has to do them at every login, in some tens of
/// milliseconds; RFC 7677 §4 asks for 4096, and for more as machines get faster.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");

/// The system has no random numbers to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be hashed: the system gives no random numbers")]
pub struct HashError;

impl User {
    /// A user with this password, hashed with salts of its own: argon2id with the parameters that
    /// the library recommends (19 MiB, two passes), and the verifier for SCRAM.
    ///
    /// Takes tens of milliseconds, whoever calls.
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
