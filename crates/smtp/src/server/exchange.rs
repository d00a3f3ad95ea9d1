//! Handles the responses of an AUTH exchange, for each mechanism.

use std::borrow::Cow;

use crate::sasl::scram::server::{Challenge, ClientFirst, ServerProof};
use crate::sasl::{Mechanism, ResponseError, UserName, base64, login, plain};

use super::event::{Credentials, ServerEvent};

/// An open exchange, by the side that must act next.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The client must send a response.
    Due(Due),
    /// The driver must answer a question.
    Asked(AuthQuestion),
}

/// The response that is expected next.
#[derive(Debug)]
pub(super) enum Due {
    /// The only message of PLAIN.
    Plain,
    /// The user name, for LOGIN.
    LoginUser,
    /// The password, for LOGIN. A name that no user can have is refused only after the password,
    /// like a wrong one.
    LoginPassword(Option<UserName>),
    /// The first message of SCRAM.
    ScramFirst,
    /// The final message of SCRAM.
    ScramFinal(Challenge),
    /// The empty line by which the client confirms our proof (RFC 4954 §4).
    ScramEnd(UserName),
}

/// The question to the driver.
#[derive(Debug)]
pub(super) enum AuthQuestion {
    /// Whether these credentials are right.
    Login,
    /// Which verifier is stored for this user.
    Verifier(ClientFirst),
    /// Whether the user may log in. Contains our own proof if the client's is right.
    Proof(Option<ServerProof>),
}

/// The result of a response.
#[derive(Debug)]
pub(super) enum Next {
    /// Another response is due.
    Response(Due),
    /// The driver must answer a question.
    Ask(AuthQuestion, ServerEvent),
    /// The client has logged in.
    Done(UserName),
}

impl Due {
    /// Returns the first response of this mechanism, if the server supports it.
    pub(super) fn first_of(mechanism: Mechanism) -> Option<Self> {
        match mechanism {
            Mechanism::Plain => Some(Self::Plain),
            Mechanism::Login => Some(Self::LoginUser),
            Mechanism::ScramSha256 => Some(Self::ScramFirst),
            Mechanism::XOauth2 | Mechanism::OAuthBearer => None,
        }
    }

    /// Returns the prompt for the response in base64, if it is always the same.
    pub(super) fn prompt(&self) -> Cow<'static, str> {
        let prompt = match self {
            Self::LoginUser => login::USER_PROMPT,
            Self::LoginPassword(_) => login::PASSWORD_PROMPT,
            Self::Plain | Self::ScramFirst | Self::ScramFinal(_) | Self::ScramEnd(_) => "",
        };
        base64::encode(prompt.as_bytes()).to_string().into()
    }

    /// Handles the response.
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
                let event = ServerEvent::ScramUser(first.user().clone());
                Ok(Next::Ask(AuthQuestion::Verifier(first), event))
            }
            Self::ScramFinal(challenge) => {
                let (user, proof) = challenge.check(octets)?;
                let verified = proof.is_some();
                let event = ServerEvent::ScramDone { user, verified };
                Ok(Next::Ask(AuthQuestion::Proof(proof), event))
            }
            Self::ScramEnd(user) if octets.is_empty() => Ok(Next::Done(user)),
            Self::ScramEnd(_) => Err(ResponseError::Malformed),
        }
    }
}

impl Next {
    fn ask_about(credentials: Credentials) -> Self {
        Self::Ask(AuthQuestion::Login, ServerEvent::Authenticate(credentials))
    }
}
