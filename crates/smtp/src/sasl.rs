//! SASL mechanisms for SMTP AUTH (RFC 4422, RFC 4954): the messages of both sides, without I/O.
//!
//! Values that may contain a secret are a [`Secret`] or a [`Response`]. Both hide their content in
//! `Debug` and are wiped when they are dropped.

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
