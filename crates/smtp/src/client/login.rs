//! An AUTH exchange from the client's side (RFC 4954 §4): what is said, one response after another.

use zeroize::Zeroizing;

use crate::reply::Reply;
use crate::sasl::scram::client::{AwaitedProof, ClientFirst};
use crate::sasl::{
    ChallengeError, Mechanism, Secret, UserName, base64, oauthbearer, plain, xoauth2,
};

use super::extensions::Extensions;
use super::plan::{Credentials, Proof};

/// Octets of an AUTH command, CR LF included. An initial response beyond them has to wait for a
/// challenge (RFC 4954 §4).
const COMMAND: usize = 512;

/// What a client may say next.
#[derive(Debug)]
pub(super) enum AuthExchange {
    /// The first message, which did not fit the command.
    Deferred(Response, Box<AuthExchange>),
    /// The user's name, by LOGIN.
    User(UserName, Secret),
    /// The password, by LOGIN.
    Password(Secret),
    /// An answer to what is told about a token that was refused.
    Acknowledgement(&'static [u8]),
    /// The final message of SCRAM.
    ScramFinal(ClientFirst, Secret),
    /// Nothing, but to look at the server's proof.
    ScramProof(AwaitedProof),
    /// Nothing.
    Complete,
}

/// A line of an exchange, to be sent and wiped.
pub(super) type Response = Zeroizing<String>;

/// The mechanisms for this kind of proof, the strongest first.
///
/// Of the two for tokens XOAUTH2 comes first: it is the one that Google and Microsoft both document
/// for SMTP, and Microsoft offers no other.
fn mechanisms(proof: &Proof) -> &'static [Mechanism] {
    match proof {
        Proof::Password(_) => &[Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login],
        Proof::Token(_) => &[Mechanism::XOauth2, Mechanism::OAuthBearer],
    }
}

impl AuthExchange {
    /// Begins the exchange with the strongest mechanism that is offered, and gives the command;
    /// `None` if none is.
    pub(super) fn begin(
        credentials: Credentials,
        peer: &Extensions,
    ) -> Option<(Mechanism, Self, Response)> {
        let offered = |mechanism: &&Mechanism| peer.offers(**mechanism);
        let mechanism = *mechanisms(&credentials.proof).iter().find(offered)?;
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

    /// The first message of the mechanism, if it has one, and what follows it.
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

    /// The answer to a 334. Where a challenge can only be a prompt its words do not matter: servers
    /// differ in them.
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

    /// Whether a 235 may come now: the user is proven, and the server where the mechanism asks for
    /// that.
    pub(super) fn end(&self) -> Result<(), ChallengeError> {
        match self {
            Self::Complete | Self::Acknowledgement(_) => Ok(()),
            Self::ScramFinal(..) | Self::ScramProof(_) => Err(ChallengeError::ServerUnproven),
            Self::Deferred(_, then) => then.end().and(Err(ChallengeError::Missing)),
            Self::User(..) | Self::Password(_) => Err(ChallengeError::Missing),
        }
    }
}

/// What a challenge says; it is one line (RFC 4954 §4).
fn octets(challenge: &Reply) -> Result<Zeroizing<Vec<u8>>, ChallengeError> {
    match challenge.lines() {
        [line] => base64::decode(line.as_bytes()).map_err(|_| ChallengeError::Encoding),
        _ => Err(ChallengeError::Encoding),
    }
}
