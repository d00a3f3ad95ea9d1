//! SASL mechanisms as SMTP AUTH carries them (RFC 4422, RFC 4954): what the two sides say, without
//! I/O.
//!
//! Whatever may hold a secret is a [`Secret`] or a [`Response`]: neither shows itself in `Debug`,
//! and both are wiped when they are dropped.

pub mod base64;
mod challenge;
pub mod login;
mod mechanism;
pub mod oauthbearer;
pub mod plain;
mod prepare;
mod response;
pub mod scram;
mod secret;
mod user;
pub mod xoauth2;

pub use challenge::ChallengeError;
pub use mechanism::Mechanism;
pub use prepare::prepare;
pub use response::{Response, ResponseError};
pub use secret::{Secret, SecretError};
pub use user::{UserName, UserNameError};
