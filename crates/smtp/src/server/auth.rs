//! AUTH (RFC 4954): how a client logs in.

use std::mem;

use crate::reply::Reply;
use crate::sasl::scram::{Nonce, ScramVerifier};
use crate::sasl::{Mechanism, Response, ResponseError, UserName, base64};

use super::event::{Hello, ServerEvent};
use super::exchange::{AuthQuestion, Due, Exchange, Next};
use super::replies;
use super::session::{ServerSession, ServerState};
use super::settings::Channel;

/// The verb. The log of a refusal shows nothing else of the command.
const AUTH: &str = "AUTH";

impl ServerSession {
    /// Accepts [`ServerEvent::Authenticate`] or [`ServerEvent::ScramDone`]. The client is logged in
    /// as this user, unless its SCRAM proof is wrong; then it is refused.
    pub fn accept_user(&mut self, user: UserName) {
        match self.take_question() {
            Some((hello, AuthQuestion::Login)) => self.log_in(hello, user),
            Some((hello, AuthQuestion::Proof(Some(proof)))) => {
                let text = base64::encode(proof.message().as_bytes());
                self.expect(hello, Due::ScramEnd(user), &replies::challenge(&text));
            }
            Some((hello, AuthQuestion::Proof(None) | AuthQuestion::Verifier(_))) => {
                self.state = ServerState::Ready(hello);
                self.reply(&replies::authentication_failed());
            }
            None => {}
        }
    }

    /// Answers [`ServerEvent::ScramUser`] with the user's verifier and the server's part of the
    /// nonce.
    pub fn continue_scram(&mut self, verifier: ScramVerifier, nonce: &Nonce) {
        match self.take_question() {
            Some((hello, AuthQuestion::Verifier(first))) => {
                let (challenge, text) = first.challenge(verifier, nonce);
                let text = base64::encode(text.as_bytes());
                self.expect(
                    hello,
                    Due::ScramFinal(challenge),
                    &replies::challenge(&text),
                );
            }
            Some((hello, other)) => {
                self.state = ServerState::Authenticating(hello, Box::new(Exchange::Asked(other)));
            }
            None => {}
        }
    }

    pub(super) fn handle_auth(
        &mut self,
        mechanism: Option<Mechanism>,
        initial: Option<&Response>,
    ) -> Option<ServerEvent> {
        if let Some(reply) = self.auth_refusal() {
            return Some(self.protocol_error(AUTH, reply));
        }
        let Some(due) = mechanism.and_then(Due::first_of) else {
            return Some(self.protocol_error(AUTH, replies::unknown_mechanism()));
        };
        let hello = self.end_transaction()?;
        match initial.map(Response::decode_initial) {
            None => {
                let prompt = replies::challenge(&due.prompt());
                self.expect(hello, due, &prompt);
                None
            }
            Some(octets) => self.go_on(hello, octets.and_then(|octets| due.answer(&octets))),
        }
    }

    /// Handles a response within an exchange.
    pub(super) fn handle_response(&mut self, response: &Response) -> Option<ServerEvent> {
        match mem::replace(&mut self.state, ServerState::Closed) {
            ServerState::Authenticating(hello, exchange) => match *exchange {
                Exchange::Due(due) => {
                    let octets = response.decode();
                    self.go_on(hello, octets.and_then(|octets| due.answer(&octets)))
                }
                asked @ Exchange::Asked(_) => {
                    self.state = ServerState::Authenticating(hello, Box::new(asked));
                    None
                }
            },
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Returns the refusal if AUTH is not possible now (RFC 4954 §4).
    fn auth_refusal(&self) -> Option<Reply> {
        if !self.settings.auth {
            return Some(replies::unimplemented());
        }
        if self.channel() == Channel::Clear {
            return Some(replies::encryption_required());
        }
        if self.user().is_some() {
            return Some(replies::authenticated_already());
        }
        match &self.state {
            ServerState::Ready(hello) if hello.extended => None,
            ServerState::Transaction(..) => Some(replies::auth_in_transaction()),
            _ => Some(replies::want_hello()),
        }
    }

    fn go_on(&mut self, hello: Hello, next: Result<Next, ResponseError>) -> Option<ServerEvent> {
        match next {
            Ok(Next::Response(due)) => {
                let prompt = replies::challenge(&due.prompt());
                self.expect(hello, due, &prompt);
                None
            }
            Ok(Next::Ask(question, event)) => {
                let asked = Box::new(Exchange::Asked(question));
                self.state = ServerState::Authenticating(hello, asked);
                Some(event)
            }
            Ok(Next::Done(user)) => {
                self.log_in(hello, user);
                None
            }
            Err(error) => {
                self.state = ServerState::Ready(hello);
                Some(self.protocol_error(AUTH, reply_to(error)))
            }
        }
    }

    fn expect(&mut self, hello: Hello, due: Due, challenge: &Reply) {
        self.state = ServerState::Authenticating(hello, Box::new(Exchange::Due(due)));
        self.reply(challenge);
    }

    fn log_in(&mut self, hello: Hello, user: UserName) {
        self.state = ServerState::Ready(hello);
        self.user = Some(user);
        self.reply(&replies::authenticated());
    }

    /// Takes the question that the driver is about to answer.
    fn take_question(&mut self) -> Option<(Hello, AuthQuestion)> {
        match mem::replace(&mut self.state, ServerState::Closed) {
            ServerState::Authenticating(hello, exchange) => match *exchange {
                Exchange::Asked(question) => Some((hello, question)),
                due @ Exchange::Due(_) => {
                    self.state = ServerState::Authenticating(hello, Box::new(due));
                    None
                }
            },
            other => {
                self.state = other;
                None
            }
        }
    }
}

fn reply_to(error: ResponseError) -> Reply {
    match error {
        ResponseError::Cancelled => replies::authentication_cancelled(),
        ResponseError::NotBase64 | ResponseError::Malformed => replies::bad_response(),
        ResponseError::Denied => replies::authentication_failed(),
    }
}
