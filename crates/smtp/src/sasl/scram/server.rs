//! The server's side of SCRAM.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::attributes::{attribute, is_extension, is_nonce, unescape};
use super::keys::{HASH, hash, keyed_hash};
use super::verifier::{Nonce, ScramVerifier};
use crate::sasl::{ResponseError, UserName, base64};

/// The most octets of a client's nonce. The challenge repeats the nonce and must fit a line.
const MAX_NONCE: usize = 512;

/// The client's first message: the user and the client's nonce.
#[derive(Debug)]
pub struct ClientFirst {
    user: UserName,
    /// The channel binding flag and the authorization identity, including the commas.
    gs2_header: Box<str>,
    /// The rest of the message.
    bare: Box<str>,
    nonce: Box<str>,
}

impl ClientFirst {
    /// Parses a message by RFC 5802 §7, `client-first-message`. Users cannot act for others.
    /// Channel binding (`p=`) is refused, because it was not offered.
    pub fn parse(message: &[u8]) -> Result<Self, ResponseError> {
        let malformed = ResponseError::Malformed;
        let message = std::str::from_utf8(message).map_err(|_| malformed)?;
        let mut parts = message.splitn(3, ',');
        let (Some("n" | "y"), Some(acts_as), Some(bare)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed);
        };
        let mut attributes = bare.split(',');
        let name = attribute(attributes.next(), "n=").ok_or(malformed)?;
        let nonce = attribute(attributes.next(), "r=").ok_or(malformed)?;
        if nonce.len() > MAX_NONCE || !is_nonce(nonce) || !attributes.all(is_extension) {
            return Err(malformed);
        }
        let is_own = acts_as.is_empty() || acts_as.strip_prefix("a=") == Some(name);
        let name = unescape(name).ok_or(malformed)?;
        let user = name.parse().map_err(|_| ResponseError::Denied)?;
        if !is_own {
            return Err(ResponseError::Denied);
        }
        Ok(Self {
            user,
            gs2_header: message[..message.len() - bare.len()].into(),
            bare: bare.into(),
            nonce: nonce.into(),
        })
    }

    /// The user name that the client gave.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// Makes the server's first message, and the state that is needed to check the answer.
    pub fn challenge(self, verifier: ScramVerifier, nonce: &Nonce) -> (Challenge, String) {
        let nonce = format!("{}{}", self.nonce, nonce.as_str());
        let salt = base64::encode(&verifier.salt);
        let text = format!("r={nonce},s={},i={}", *salt, verifier.iterations);
        let challenge = Challenge {
            user: self.user,
            channel: base64::encode(self.gs2_header.as_bytes()).as_str().into(),
            nonce: nonce.into(),
            so_far: format!("{},{text}", self.bare).into(),
            verifier,
        };
        (challenge, text)
    }
}

/// The state until the answer to a challenge arrives.
#[derive(Debug)]
pub struct Challenge {
    user: UserName,
    /// The part of its first message that the client must repeat.
    channel: Box<str>,
    nonce: Box<str>,
    /// The messages so far, which both sides sign.
    so_far: Box<str>,
    verifier: ScramVerifier,
}

impl Challenge {
    /// Checks the client's final message (RFC 5802 §7, `client-final-message`). Returns the user
    /// and, if the client's proof is right, the server's proof.
    pub fn check(self, message: &[u8]) -> Result<(UserName, Option<ServerProof>), ResponseError> {
        let malformed = ResponseError::Malformed;
        let message = std::str::from_utf8(message).map_err(|_| malformed)?;
        let (signed, proof) = message.rsplit_once(",p=").ok_or(malformed)?;
        let proof = base64::decode(proof.as_bytes()).map_err(|_| malformed)?;
        let mut attributes = signed.split(',');
        let channel = attribute(attributes.next(), "c=").ok_or(malformed)?;
        let nonce = attribute(attributes.next(), "r=").ok_or(malformed)?;
        if !attributes.all(is_extension) {
            return Err(malformed);
        }
        let auth_message = format!("{},{signed}", self.so_far);
        let is_ours = channel == &*self.channel && nonce == &*self.nonce;
        let is_good = is_ours && self.proves(&proof, auth_message.as_bytes());
        let server_proof = is_good.then(|| ServerProof {
            signature: keyed_hash(&self.verifier.server_key, auth_message.as_bytes()),
        });
        Ok((self.user, server_proof))
    }

    /// Whether `ClientProof XOR ClientSignature` is the key whose hash is stored (RFC 5802 §3).
    fn proves(&self, proof: &[u8], auth_message: &[u8]) -> bool {
        let stored = &self.verifier.stored_key;
        let mut key = keyed_hash(stored, auth_message);
        if proof.len() != HASH {
            return false;
        }
        key.iter_mut()
            .zip(proof)
            .for_each(|(key, octet)| *key ^= octet);
        verify_slices_are_equal(&hash(&key), stored).is_ok()
    }
}

/// The proof that the server knows the password too.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerProof {
    signature: [u8; HASH],
}

impl ServerProof {
    /// The server's final message.
    pub fn message(&self) -> String {
        format!("v={}", *base64::encode(&self.signature))
    }
}

impl fmt::Debug for ServerProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerProof")
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Keys;
    use super::super::tests::{
        CLIENT_FINAL, CLIENT_FIRST, CLIENT_NONCE, SERVER_FINAL, SERVER_FIRST, password, verifier,
    };
    use super::*;

    /// The exchange of RFC 7677 §3 up to the answer to the challenge.
    fn challenge() -> Challenge {
        let first = ClientFirst::parse(CLIENT_FIRST.as_bytes()).expect("the first message");
        let (challenge, text) =
            first.challenge(verifier(), &Nonce::of("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"));
        assert_eq!(text, SERVER_FIRST);
        challenge
    }

    fn is_proven(message: &str) -> Result<bool, ResponseError> {
        let checked = challenge().check(message.as_bytes());
        checked.map(|(_, proof)| proof.is_some())
    }

    #[test]
    fn the_server_completes_the_exchange_of_rfc_7677() {
        let (user, proof) = challenge()
            .check(CLIENT_FINAL.as_bytes())
            .expect("a message");
        assert_eq!(user.as_str(), "user");
        assert_eq!(proof.expect("a good proof").message(), SERVER_FINAL);
    }

    #[test]
    fn a_wrong_channel_nonce_or_proof_is_refused() {
        for (good, other) in [
            ("c=biws", "c=eSws"),
            ("c=biws", "c=biw="),
            ("r=rOpr", "r=rOps"),
            ("k0,p=", "k0x,p="),
            ("k0,p=", "k0,x=1,p="),
            ("p=dHzb", "p=dHzc"),
            ("p=dHzb", "p="),
        ] {
            let message = CLIENT_FINAL.replace(good, other);
            assert_ne!(message, CLIENT_FINAL, "{good}");
            assert!(!matches!(is_proven(&message), Ok(true)), "{message}");
        }
    }

    #[test]
    fn a_proof_is_valid_only_for_the_channel_and_the_nonce_of_its_exchange() {
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        for (signed, counts) in [
            (format!("c=biws,r={nonce}"), true),
            (format!("c=biws,r={nonce},x=y"), true),
            (format!("c=eSws,r={nonce}"), false),
            (format!("c=biws,r={nonce}x"), false),
            ("c=biws,r=rOprNGfwEbeRWgbNEkqO".to_owned(), false),
        ] {
            let auth_message = format!("n=user,r={CLIENT_NONCE},{SERVER_FIRST},{signed}");
            let keys = Keys::derive(&password(), &verifier().salt, verifier().iterations);
            let mut proof = keyed_hash(&keys.stored(), auth_message.as_bytes());
            let key = keys.client();
            proof
                .iter_mut()
                .zip(*key)
                .for_each(|(octet, key)| *octet ^= key);
            let message = format!("{signed},p={}", *base64::encode(&proof));
            assert_eq!(is_proven(&message), Ok(counts), "{signed}");
        }
    }

    #[test]
    fn an_invalid_final_message_is_malformed() {
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        for message in [
            String::new(),
            format!("c=biws,r={nonce}"),
            format!("r={nonce},c=biws,p=AAAA"),
            format!("c=biws,r={nonce},p=!"),
            format!("c=biws,r={nonce},m=x,p=AAAA"),
            format!("c=biws,r={nonce},1=x,p=AAAA"),
            format!("c=biws,r={nonce},p=AAAA,x=y"),
            "c=biws,p=AAAA".to_owned(),
        ] {
            assert_eq!(
                is_proven(&message),
                Err(ResponseError::Malformed),
                "{message}"
            );
        }
    }

    #[test]
    fn first_messages_follow_the_grammar() {
        for (message, user) in [
            ("n,,n=user,r=abc", "user"),
            ("y,,n=user,r=abc", "user"),
            ("n,a=user,n=user,r=abc", "user"),
            ("n,,n=a=2Cb=3D,r=abc,x=y", "a,b="),
        ] {
            let first = ClientFirst::parse(message.as_bytes()).expect(message);
            assert_eq!(first.user().as_str(), user);
        }
        let long = format!("n,,n=user,r={}", "x".repeat(MAX_NONCE + 1));
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=user",
            "n,,r=abc,n=user",
            "n,,n=user,r=",
            "n,,n=us=er,r=a",
            "p=tls-unique,,n=user,r=abc",
            "x,,n=user,r=abc",
            "n,,m=x,n=user,r=abc",
            "n,,n=user,r=abc,m=x",
            "n,,n=user,r=a b",
            "n,,n=user,r=abc,",
            "n,,n=\u{fc},r=\u{fc}",
            &long,
        ] {
            let error = ClientFirst::parse(message.as_bytes()).map(|_| ());
            assert_eq!(error, Err(ResponseError::Malformed), "{message}");
        }
        for message in ["n,,n=,r=abc", "n,a=root,n=user,r=abc", "n,,n=a\x1b,r=abc"] {
            let error = ClientFirst::parse(message.as_bytes()).map(|_| ());
            assert_eq!(error, Err(ResponseError::Denied), "{message}");
        }
    }
}
