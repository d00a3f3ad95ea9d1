//! SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
//!
//! | message | sent by | here |
//! |---|---|---|
//! | client-first: the user and a nonce | client | [`client::ClientFirst`], [`server::ClientFirst`] |
//! | server-first: nonce, salt, iterations | server | [`server::ClientFirst::challenge`] |
//! | client-final: the client's proof | client | [`client::ClientFirst::prove`], [`server::Challenge::check`] |
//! | server-final: the server's proof | server | [`server::ServerProof`], [`client::AwaitedProof`] |

mod attributes;
pub mod client;
mod keys;
pub mod server;
mod verifier;

pub(super) use attributes::escape;
pub use verifier::{Nonce, ScramVerifier};

#[cfg(test)]
mod tests {
    //! The exchange of RFC 7677 §3, and helpers for the tests of both sides.

    use std::num::NonZeroU32;

    use super::*;
    use crate::sasl::{Secret, base64};

    pub(super) const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    pub(super) const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    pub(super) const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    pub(super) const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    pub(super) const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    pub(super) fn password() -> Secret {
        Secret::new("pencil").expect("plain text")
    }

    pub(super) fn verifier() -> ScramVerifier {
        let salt = base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let iterations = NonZeroU32::new(4096).expect("not zero");
        ScramVerifier::from_password(&password(), salt.to_vec(), iterations)
    }

    #[test]
    fn debug_output_hides_keys_and_proofs() {
        let verifier = verifier();
        assert_eq!(
            format!("{verifier:?}"),
            "ScramVerifier { iterations: 4096, .. }"
        );
    }

    #[test]
    fn all_unicode_forms_of_a_password_give_the_same_verifier() {
        let of = |text: &str| {
            let password = Secret::new(text).expect("plain text");
            ScramVerifier::from_password(&password, vec![1], ScramVerifier::MIN_ITERATIONS)
        };
        assert_eq!(of("caf\u{e9}"), of("cafe\u{301}"));
        assert_ne!(of("caf\u{e9}"), of("cafe"));
    }
}
