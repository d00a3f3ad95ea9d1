//! The client's side of an AUTH exchange (RFC 4954 §4), one response after another.

use zeroize::Zeroizing;

use crate::reply::Reply;
use crate::sasl::scram::client::{AwaitedProof, ClientFirst};
use crate::sasl::{
    ChallengeError, Mechanism, Secret, UserName, base64, oauthbearer, plain, xoauth2,
};

use super::extensions::Extensions;
use super::plan::{Credentials, Proof};

/// The most octets of an AUTH command, including CR LF. A longer initial response is sent after a
/// challenge (RFC 4954 §4).
const COMMAND: usize = 512;

/// The next response of the client.
#[derive(Debug)]
pub(super) enum AuthExchange {
    /// The first message, which was too long for the command.
    Deferred(Response, Box<AuthExchange>),
    /// The user name, for LOGIN.
    User(UserName, Secret),
    /// The password, for LOGIN.
    Password(Secret),
    /// The answer to the error message for a refused token.
    Acknowledgement(&'static [u8]),
    /// The final message of SCRAM.
    ScramFinal(ClientFirst, Secret),
    /// An empty line, if the server's proof is right.
    ScramProof(AwaitedProof),
    /// None: the exchange is complete on the client's side.
    Complete,
}

/// A line of an exchange. It is wiped after it is sent.
pub(super) type Response = Zeroizing<String>;

/// Returns the mechanisms for this kind of proof, the strongest first.
///
/// For tokens XOAUTH2 comes first: Google and Microsoft both document it for SMTP, and Microsoft
/// offers no other.
fn mechanisms(proof: &Proof) -> &'static [Mechanism] {
    match proof {
        Proof::Password(_) => &[Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login],
        Proof::Token(_) => &[Mechanism::XOauth2, Mechanism::OAuthBearer],
    }
}

impl AuthExchange {
    /// Begins the exchange with the strongest mechanism that is offered, and returns the command.
    /// Returns `None` if no mechanism fits.
    pub(super) fn begin(
        credentials: Credentials,
        peer: &Extensions,
    ) -> Option<(Mechanism, Self, Response)> {
        let mechanism = *mechanisms(&credentials.proof)
            .iter()
            .find(|mechanism| peer.offers(**mechanism))?;
        let (login, message) = Self::first(mechanism, credentials);
        let command = format!("AUTH {mechanism}");
        let (login, command) = match message {
            Some(message) if command.len() + message.len() + " \r\n".len() <= COMMAND => {
                (login, Zeroizing::new([&command, " ", &message].concat()))
            }
            Some(message) => {
                let login = Self::Deferred(message, Box::new(login));
                (login, Zeroizing::new(command))
            }
            None => (login, Zeroizing::new(command)),
        };
        Some((mechanism, login, command))
    }

    /// Returns the first message of the mechanism, if it has one, and the next state.
    fn first(mechanism: Mechanism, credentials: Credentials) -> (Self, Option<Response>) {
        let Credentials {
            user, proof, nonce, ..
        } = credentials;
        let (Proof::Password(secret) | Proof::Token(secret)) = proof;
        match mechanism {
            Mechanism::Plain => {
                let message = plain::message(&user, &secret);
                (Self::Complete, Some(base64::encode(&message)))
            }
            Mechanism::Login => (Self::User(user, secret), None),
            Mechanism::ScramSha256 => {
                let first = ClientFirst::new(&user, nonce);
                let message = base64::encode(first.message().as_bytes());
                (Self::ScramFinal(first, secret), Some(message))
            }
            Mechanism::XOauth2 => {
                let message = xoauth2::message(&user, &secret);
                let then = Self::Acknowledgement(xoauth2::ACKNOWLEDGEMENT);
                (then, Some(base64::encode(&message)))
            }
            Mechanism::OAuthBearer => {
                let message = oauthbearer::message(&user, &secret);
                let then = Self::Acknowledgement(oauthbearer::ACKNOWLEDGEMENT);
                (then, Some(base64::encode(&message)))
            }
        }
    }

    /// Answers a 334. If a challenge can only be a prompt, its text is ignored, because it differs
    /// between servers.
    pub(super) fn answer(self, challenge: &Reply) -> Result<(Self, Response), ChallengeError> {
        match self {
            Self::Deferred(message, then) => Ok((*then, message)),
            Self::User(user, secret) => {
                let name = base64::encode(user.as_str().as_bytes());
                Ok((Self::Password(secret), name))
            }
            Self::Password(secret) => {
                Ok((Self::Complete, base64::encode(secret.expose().as_bytes())))
            }
            Self::Acknowledgement(octets) => Ok((Self::Complete, base64::encode(octets))),
            Self::ScramFinal(first, password) => {
                let (awaited, message) = first.prove(&octets(challenge)?, &password)?;
                Ok((
                    Self::ScramProof(awaited),
                    base64::encode(message.as_bytes()),
                ))
            }
            Self::ScramProof(awaited) => {
                awaited.check(&octets(challenge)?)?;
                Ok((Self::Complete, Response::default()))
            }
            Self::Complete => Err(ChallengeError::Unexpected),
        }
    }

    /// Whether a 235 is valid now: the client has sent everything, and the server has proved itself
    /// if the mechanism requires it.
    pub(super) fn end(&self) -> Result<(), ChallengeError> {
        match self {
            Self::Complete | Self::Acknowledgement(_) => Ok(()),
            Self::ScramFinal(..) | Self::ScramProof(_) => Err(ChallengeError::ServerUnproven),
            Self::Deferred(_, then) => then.end().and(Err(ChallengeError::Missing)),
            Self::User(..) | Self::Password(_) => Err(ChallengeError::Missing),
        }
    }
}

/// Decodes a challenge, which is one line (RFC 4954 §4).
fn octets(challenge: &Reply) -> Result<Zeroizing<Vec<u8>>, ChallengeError> {
    match challenge.lines() {
        [line] => base64::decode(line.as_bytes()).map_err(|_| ChallengeError::Encoding),
        _ => Err(ChallengeError::Encoding),
    }
}
