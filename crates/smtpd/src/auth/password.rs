//! Password hashes: argon2id (RFC 9106) as PHC strings.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, Version};

/// KiB that a hash may take to check: what a file says must not exhaust the memory.
const MOST_MEMORY: u32 = 1024 * 1024;
/// Passes over that memory.
const MOST_PASSES: u32 = 100;
/// Lanes of it.
const MOST_LANES: u32 = 64;

/// Nobody's: checked in place of the hash of a user who does not exist, at the cost of argon2's
/// recommended parameters, which `relayctl user` uses for all.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$nbgGcZFQAXGhlb6Mjrwi5A$R5MXZSnfz2yZtbxZbYGvZzoN8CNScvtTzcjkt4mIkLw";

/// The argon2id hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// The text is no hash that we check passwords by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordHashError {
    /// It is no PHC string.
    #[error("this is no password hash")]
    Syntax,
    /// Another algorithm or version, or a part is missing.
    #[error("the password hash is not argon2id, version 19, with salt and hash")]
    Algorithm,
    /// Checking it would take too much.
    #[error("the password hash takes too much memory or time to check")]
    Cost,
}

impl PasswordHash {
    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash to check for a user who does not exist.
    pub(super) fn nobodys() -> Self {
        Self(NOBODYS.into())
    }

    /// Takes tens of milliseconds and megabytes, whatever the answer. The password is to be in the
    /// form that [`relay_smtp::sasl::prepare`] gives it, as for SCRAM.
    pub(super) fn is_of(&self, password: &str) -> bool {
        let Ok(hash) = phc::PasswordHash::new(&self.0) else {
            return false;
        };
        // The parameters are the hash's own.
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

/// A hash is for guessing at: it stays out of logs.
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
    fn a_hash_is_of_its_password_alone() {
        let params = Params::new(8, 1, 1, None).expect("good parameters");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let text = argon2.hash_password(b"s3cret").expect("a salt").to_string();
        let hash: PasswordHash = text.parse().expect("a hash");
        assert!(hash.is_of("s3cret"));
        assert!(!hash.is_of("") && !hash.is_of("s3cre") && !hash.is_of("s3cret "));
        assert!(!format!("{hash:?}").contains(&text));
    }

    #[test]
    fn nobodys_hash_costs_what_a_users_does() {
        let nobodys = PasswordHash::nobodys();
        assert_eq!(nobodys.as_str().parse(), Ok(nobodys.clone()));
        let parsed = phc::PasswordHash::new(nobodys.as_str()).expect("a hash");
        let params = Params::try_from(&parsed).expect("parameters");
        let users = Argon2::default().hash_password(b"x").expect("a salt");
        let of_user = Params::try_from(&users).expect("parameters");
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (of_user.m_cost(), of_user.t_cost(), of_user.p_cost())
        );
        assert!(!nobodys.is_of(""));
    }

    #[test]
    fn other_texts_are_no_hashes() {
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
