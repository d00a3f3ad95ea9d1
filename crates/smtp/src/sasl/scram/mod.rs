//! SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.

mod verifier;

pub use verifier::{Nonce, ScramVerifier};
