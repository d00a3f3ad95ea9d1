//! Password hashes: argon2id (RFC 9106) as PHC strings.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, Version};

/// The most memory in KiB that checking a hash may take, so a hash from a file cannot exhaust the
/// memory.
const MOST_MEMORY: u32 = 1024 * 1024;
/// The most passes over the memory.
const MOST_PASSES: u32 = 100;
/// The most lanes.
const MOST_LANES: u32 = 64;

/// The hash that is checked if the user does not exist. It has the parameters that argon2
/// recommends and that `relayctl user` uses, so the check costs the same.
const UNKNOWN_USER: &str = "$argon2id$v=19$m=19456,t=2,p=1$nbgGcZFQAXGhlb6Mjrwi5A$R5MXZSnfz2yZtbxZbYGvZzoN8CNScvtTzcjkt4mIkLw";

/// The argon2id hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// The text is not a password hash that this server supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordHashError {
    /// It is not a PHC string.
    #[error("not a password hash")]
    Syntax,
    /// The algorithm or version is not supported, or a part is missing.
    #[error("the password hash is not argon2id version 19 with a salt and a hash")]
    Algorithm,
    /// The check would take too much time or memory.
    #[error("the password hash takes too much memory or time to check")]
    Cost,
}

impl PasswordHash {
    /// Returns the PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the hash to check for a user that does not exist.
    pub(super) fn of_unknown_user() -> Self {
        Self(UNKNOWN_USER.into())
    }

    /// Checks a password. This takes tens of milliseconds and some megabytes for any result.
    /// The password must be prepared by [`relay_smtp::sasl::prepare`], as for SCRAM.
    pub(super) fn is_of(&self, password: &str) -> bool {
        let Ok(hash) = phc::PasswordHash::new(&self.0) else {
            return false;
        };
        // The check uses the parameters of the hash.
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
        argon2.verify_password(password.as_bytes(), &hash).is_ok()
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordHashError;

    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        let hash = phc::PasswordHash::new(text).map_err(|_| PasswordHashError::Syntax)?;
        let is_whole = hash.salt.is_some() && hash.hash.is_some();
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) || !is_whole {
            return Err(PasswordHashError::Algorithm);
        }
        let params = Params::try_from(&hash).map_err(|_| PasswordHashError::Syntax)?;
        let is_cheap = params.m_cost() <= MOST_MEMORY
            && params.t_cost() <= MOST_PASSES
            && params.p_cost() <= MOST_LANES;
        if is_cheap {
            Ok(Self(text.into()))
        } else {
            Err(PasswordHashError::Cost)
        }
    }
}

/// Hides the hash from logs, because passwords can be guessed from it.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher as _;

    use super::*;

    #[test]
    fn a_hash_matches_only_its_password() {
        let params = Params::new(8, 1, 1, None).expect("good parameters");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let text = argon2.hash_password(b"s3cret").expect("a salt").to_string();
        let hash: PasswordHash = text.parse().expect("a hash");
        assert!(hash.is_of("s3cret"));
        assert!(!hash.is_of("") && !hash.is_of("s3cre") && !hash.is_of("s3cret "));
        assert!(!format!("{hash:?}").contains(&text));
    }

    #[test]
    fn the_hash_for_unknown_users_costs_as_much_as_a_real_one() {
        let unknown = PasswordHash::of_unknown_user();
        assert_eq!(unknown.as_str().parse(), Ok(unknown.clone()));
        let parsed = phc::PasswordHash::new(unknown.as_str()).expect("a hash");
        let params = Params::try_from(&parsed).expect("parameters");
        let users = Argon2::default().hash_password(b"x").expect("a salt");
        let of_user = Params::try_from(&users).expect("parameters");
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (of_user.m_cost(), of_user.t_cost(), of_user.p_cost())
        );
        assert!(!unknown.is_of(""));
    }

    #[test]
    fn other_texts_are_refused() {
        let rest = "c2FsdHNhbHQ$EqEEBcdZfMNyJe4Oy9WZx4NYjqSCJwOjrSi6WUHgvDA";
        for (text, why) in [
            ("", PasswordHashError::Syntax),
            ("s3cret", PasswordHashError::Syntax),
            ("$argon2id$v=19$m=8,t=1,p=1", PasswordHashError::Algorithm),
            (
                &format!("$argon2i$v=19$m=8,t=1,p=1${rest}"),
                PasswordHashError::Algorithm,
            ),
            (
                &format!("$argon2id$v=16$m=8,t=1,p=1${rest}"),
                PasswordHashError::Algorithm,
            ),
            (
                &format!("$argon2id$v=19$m=2097152,t=1,p=1${rest}"),
                PasswordHashError::Cost,
            ),
            (
                &format!("$argon2id$v=19$m=8,t=1000,p=1${rest}"),
                PasswordHashError::Cost,
            ),
        ] {
            assert_eq!(text.parse::<PasswordHash>(), Err(why), "{text}");
        }
    }
}
