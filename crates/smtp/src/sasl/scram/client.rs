//! The client's side of SCRAM.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::attributes::{attribute, escape, is_extension, is_nonce};
use super::keys::{HASH, Keys, keyed_hash};
use super::verifier::{Nonce, ScramVerifier};
use crate::sasl::{ChallengeError, Secret, UserName, base64};

/// The most iterations that a server may ask for. It is more than anyone recommends for a password,
/// and takes a fraction of a second.
const MAX_ITERATIONS: u32 = 600_000;

/// The client does not support channel binding (RFC 5802 §7, `gs2-cbind-flag`).
const GS2_HEADER: &str = "n,,";

/// The client's first message, and the state until its challenge arrives.
#[derive(Debug)]
pub struct ClientFirst {
    bare: String,
    nonce: Nonce,
}

impl ClientFirst {
    /// Makes the first message for this user. Each nonce may be used only once.
    pub fn new(user: &UserName, nonce: Nonce) -> Self {
        let bare = format!("n={},r={}", escape(user.as_str()), nonce.as_str());
        Self { bare, nonce }
    }

    /// The text of the message.
    pub fn message(&self) -> String {
        format!("{GS2_HEADER}{}", self.bare)
    }

    /// Proves to the server that the client knows the password. Returns the final message and the
    /// proof that the server must answer with.
    pub fn prove(
        self,
        challenge: &[u8],
        password: &Secret,
    ) -> Result<(AwaitedProof, String), ChallengeError> {
        let challenge = std::str::from_utf8(challenge).map_err(|_| ChallengeError::Encoding)?;
        let ServerFirst {
            nonce,
            salt,
            iterations,
        } = ServerFirst::parse(challenge)?;
        // RFC 5802 §5.1: the server's nonce is the client's nonce with something added.
        if nonce
            .strip_prefix(self.nonce.as_str())
            .is_none_or(str::is_empty)
        {
            return Err(ChallengeError::ForeignNonce);
        }
        let channel = base64::encode(GS2_HEADER.as_bytes());
        let signed = format!("c={},r={nonce}", *channel);
        let auth_message = format!("{},{challenge},{signed}", self.bare);
        let keys = Keys::derive(password, &salt, iterations);
        let mut proof = keyed_hash(&keys.stored(), auth_message.as_bytes());
        let key = keys.client();
        proof
            .iter_mut()
            .zip(*key)
            .for_each(|(octet, key)| *octet ^= key);
        let awaited = AwaitedProof {
            signature: keyed_hash(&keys.server(), auth_message.as_bytes()),
        };
        Ok((awaited, format!("{signed},p={}", *base64::encode(&proof))))
    }
}

/// The content of the server's first message (RFC 5802 §7, `server-first-message`).
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> ServerFirst<'a> {
    fn parse(message: &'a str) -> Result<Self, ChallengeError> {
        let malformed = ChallengeError::Malformed;
        let mut attributes = message.split(',');
        let nonce = attribute(attributes.next(), "r=").ok_or(malformed)?;
        let salt = attribute(attributes.next(), "s=").ok_or(malformed)?;
        let salt = base64::decode(salt.as_bytes()).map_err(|_| malformed)?;
        let count = attribute(attributes.next(), "i=").ok_or(malformed)?;
        let is_number = !count.is_empty() && count.bytes().all(|octet| octet.is_ascii_digit());
        if !is_nonce(nonce) || !is_number || salt.is_empty() || !attributes.all(is_extension) {
            return Err(malformed);
        }
        let count = count.parse().unwrap_or(u32::MAX);
        let allowed = ScramVerifier::MIN_ITERATIONS.get()..=MAX_ITERATIONS;
        let iterations = NonZeroU32::new(count).filter(|count| allowed.contains(&count.get()));
        Ok(Self {
            nonce,
            salt: salt.to_vec(),
            iterations: iterations.ok_or(ChallengeError::Iterations(count))?,
        })
    }
}

/// The proof that the server must send to show that it knows the password too.
pub struct AwaitedProof {
    signature: [u8; HASH],
}

impl AwaitedProof {
    /// Checks the server's final message (RFC 5802 §7, `server-final-message`).
    pub fn check(&self, message: &[u8]) -> Result<(), ChallengeError> {
        let unproven = ChallengeError::ServerUnproven;
        let message = std::str::from_utf8(message).map_err(|_| unproven)?;
        let mut attributes = message.split(',');
        let signature = attribute(attributes.next(), "v=").ok_or(unproven)?;
        let signature = base64::decode(signature.as_bytes()).map_err(|_| unproven)?;
        verify_slices_are_equal(&signature, &self.signature).map_err(|_| unproven)
    }
}

impl fmt::Debug for AwaitedProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitedProof")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{
        CLIENT_FINAL, CLIENT_FIRST, CLIENT_NONCE, SERVER_FINAL, SERVER_FIRST, password,
    };
    use super::*;

    fn first() -> ClientFirst {
        let user = "user".parse().expect("a name");
        ClientFirst::new(&user, Nonce::of(CLIENT_NONCE))
    }

    #[test]
    fn the_client_completes_the_exchange_of_rfc_7677() {
        assert_eq!(first().message(), CLIENT_FIRST);
        let proven = first().prove(SERVER_FIRST.as_bytes(), &password());
        let (awaited, message) = proven.expect("a good challenge");
        assert_eq!(message, CLIENT_FINAL);
        assert_eq!(awaited.check(SERVER_FINAL.as_bytes()), Ok(()));
    }

    #[test]
    fn a_wrong_proof_of_the_server_is_detected() {
        let proven = first().prove(SERVER_FIRST.as_bytes(), &password());
        let (awaited, _) = proven.expect("a good challenge");
        let other = SERVER_FINAL.replace("v=6", "v=7");
        for message in ["", "v=", "v=AAAA", "v=!", "e=invalid-proof", "x", &other] {
            let checked = awaited.check(message.as_bytes());
            assert_eq!(checked, Err(ChallengeError::ServerUnproven), "{message}");
        }
    }

    #[test]
    fn each_fault_of_a_challenge_has_its_own_error() {
        use ChallengeError::{Encoding, ForeignNonce, Iterations, Malformed};
        let n = CLIENT_NONCE;
        for (challenge, error) in [
            (format!("r={n},s=AAAA,i=4096"), ForeignNonce),
            (format!("r=x{n},s=AAAA,i=4096"), ForeignNonce),
            ("r=,s=AAAA,i=4096".to_owned(), Malformed),
            (format!("r={n} x,s=AAAA,i=4096"), Malformed),
            (format!("r={n}\u{e9},s=AAAA,i=4096"), Malformed),
            (format!("r={n}x,s=AAAA,i=4095"), Iterations(4095)),
            (format!("r={n}x,s=AAAA,i=0"), Iterations(0)),
            (format!("r={n}x,s=AAAA,i=600001"), Iterations(600_001)),
            (format!("r={n}x,s=AAAA,i=99999999999"), Iterations(u32::MAX)),
            (format!("r={n}x,s=AAAA,i="), Malformed),
            (format!("r={n}x,s=AAAA,i=+4096"), Malformed),
            (format!("r={n}x,s=,i=4096"), Malformed),
            (format!("r={n}x,s=A,i=4096"), Malformed),
            (format!("r={n}x,i=4096,s=AAAA"), Malformed),
            (format!("m=x,r={n}x,s=AAAA,i=4096"), Malformed),
            (format!("r={n}x,s=AAAA,i=4096,m=x"), Malformed),
            (String::new(), Malformed),
        ] {
            let proven = first().prove(challenge.as_bytes(), &password());
            assert_eq!(proven.map(|_| ()), Err(error), "{challenge}");
        }
        let proven = first().prove(b"\xff", &password());
        assert_eq!(proven.map(|_| ()), Err(Encoding));
        let extended = format!("r={n}x,s=AAAA,i=4096,x=y");
        assert!(first().prove(extended.as_bytes(), &password()).is_ok());
    }
}
