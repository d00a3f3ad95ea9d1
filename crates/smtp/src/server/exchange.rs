//! What the lines of an AUTH exchange mean, one mechanism beside the other.

use std::borrow::Cow;

use crate::sasl::scram::server::{Challenge, ClientFirst, ServerProof};
use crate::sasl::{Mechanism, ResponseError, UserName, base64, login, plain};

use super::event::{Credentials, Event};

/// An exchange under way, by who has the next word.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The client has.
    Due(Due),
    /// The driver has.
    Asked(Question),
}

/// Which response is waited for.
#[derive(Debug)]
pub(super) enum Due {
    /// The one message of PLAIN.
    Plain,
    /// The user's name, by LOGIN.
    LoginUser,
    /// The password, by LOGIN. A name that nobody can have is answered only behind it, as a wrong
    /// one would be.
    LoginPassword(Option<UserName>),
    /// The first message of SCRAM.
    ScramFirst,
    /// The final message of SCRAM.
    ScramFinal(Challenge),
    /// The empty line by which the client takes note of our proof (RFC 4954 §4).
    ScramEnd(UserName),
}

/// What the driver has been asked.
#[derive(Debug)]
pub(super) enum Question {
    /// Are these credentials good?
    Login,
    /// What is kept of this user's password?
    Verifier(ClientFirst),
    /// Is the user welcome? With our own proof, if the client's is good.
    Proof(Option<ServerProof>),
}

/// What a response led to.
#[derive(Debug)]
pub(super) enum Next {
    /// Another one is due.
    Response(Due),
    /// The driver is asked.
    Ask(Question, Event),
    /// The client has logged in.
    Done(UserName),
}

impl Due {
    /// The first response of this mechanism, if it is taken here.
    pub(super) fn first_of(mechanism: Mechanism) -> Option<Self> {
        match mechanism {
            Mechanism::Plain => Some(Self::Plain),
            Mechanism::Login => Some(Self::LoginUser),
            Mechanism::ScramSha256 => Some(Self::ScramFirst),
            Mechanism::XOauth2 | Mechanism::OAuthBearer => None,
        }
    }

    /// What asks for it, in base64, where that is the same each time.
    pub(super) fn prompt(&self) -> Cow<'static, str> {
        let prompt = match self {
            Self::LoginUser => login::USER_PROMPT,
            Self::LoginPassword(_) => login::PASSWORD_PROMPT,
            Self::Plain | Self::ScramFirst | Self::ScramFinal(_) | Self::ScramEnd(_) => "",
        };
        base64::encode(prompt.as_bytes()).to_string().into()
    }

    /// What the response means.
    pub(super) fn answer(self, octets: &[u8]) -> Result<Next, ResponseError> {
        match self {
            Self::Plain => {
                let (user, secret) = plain::parse(octets)?;
                let mechanism = Mechanism::Plain;
                Ok(Next::ask_about(Credentials {
                    mechanism,
                    user,
                    secret,
                }))
            }
            Self::LoginUser => Ok(Next::Response(Self::LoginPassword(
                login::user_name(octets).ok(),
            ))),
            Self::LoginPassword(user) => {
                let user = user.ok_or(ResponseError::Denied)?;
                let (mechanism, secret) = (Mechanism::Login, login::password(octets)?);
                Ok(Next::ask_about(Credentials {
                    mechanism,
                    user,
                    secret,
                }))
            }
            Self::ScramFirst => {
                let first = ClientFirst::parse(octets)?;
                let event = Event::ScramUser(first.user().clone());
                Ok(Next::Ask(Question::Verifier(first), event))
            }
            Self::ScramFinal(challenge) => {
                let (user, proof) = challenge.check(octets)?;
                let verified = proof.is_some();
                let event = Event::ScramDone { user, verified };
                Ok(Next::Ask(Question::Proof(proof), event))
            }
            Self::ScramEnd(user) if octets.is_empty() => Ok(Next::Done(user)),
            Self::ScramEnd(_) => Err(ResponseError::Malformed),
        }
    }
}

impl Next {
    fn ask_about(credentials: Credentials) -> Self {
        Self::Ask(Question::Login, Event::Authenticate(credentials))
    }
}
