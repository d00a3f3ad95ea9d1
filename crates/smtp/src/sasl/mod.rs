//! SASL mechanisms as SMTP AUTH carries them (RFC 4422, RFC 4954): what the two sides say, without
//! I/O.
//!
//! Whatever may hold a secret is a [`Secret`] or a [`Response`]: neither shows itself in `Debug`,
//! and both are wiped when they are dropped.

pub mod base64;
mod challenge;
mod mechanism;
mod prepare;
pub mod scram;
mod secret;
mod user;

pub use challenge::ChallengeError;
pub use mechanism::Mechanism;
pub use prepare::prepare;
pub use secret::{Response, Secret, SecretError};
pub use user::{UserName, UserNameError};
