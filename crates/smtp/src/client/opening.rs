//! From the greeting to the first transaction: EHLO, STARTTLS (RFC 3207) and AUTH (RFC 4954).

use zeroize::Zeroize;

use crate::client::event::{Event, Trouble};
use crate::client::extensions::Extensions;
use crate::client::login::AuthExchange;
use crate::client::plan::TlsUse;
use crate::reply::Reply;

use crate::client::session::{ClientSession, ClientState, is_refusal};

/// The server waits for a response (RFC 4954 §4).
const CHALLENGE: u16 = 334;

impl ClientSession {
    /// Handles a reply before the first transaction.
    pub(super) fn opening_reply(&mut self, found: ClientState, reply: Reply) -> Option<Event> {
        let stage = found.stage();
        match found {
            ClientState::Greeting if reply.is_positive() => self.enter(ClientState::Ehlo),
            ClientState::Ehlo if reply.is_positive() => {
                self.peer = Extensions::parse(&reply);
                self.protect()
            }
            // RFC 5321 §3.2: a server that does not know EHLO may know HELO.
            ClientState::Ehlo if reply.is_permanent() => self.enter(ClientState::Helo),
            ClientState::Helo if reply.is_positive() => self.protect(),
            ClientState::StartTls if reply.is_positive() => self.enter(ClientState::Handshake),
            ClientState::StartTls if is_refusal(&reply) => self.tls_refused(reply),
            ClientState::Auth(login) if reply.code() == CHALLENGE => self.challenged(login, &reply),
            ClientState::Auth(login) if reply.is_positive() => self.logged_in(&login),
            ClientState::Auth(_) if is_refusal(&reply) => {
                Some(self.end(Trouble::AuthRefused(reply)))
            }
            _ if is_refusal(&reply) => Some(self.end(Trouble::Refused(stage, reply))),
            _ => Some(self.end(Trouble::Unexpected(stage, reply))),
        }
    }

    /// Starts TLS, if it is wanted and not active yet.
    fn protect(&mut self) -> Option<Event> {
        match self.plan.tls {
            TlsUse::IfOffered | TlsUse::Required if self.peer.starttls => {
                self.enter(ClientState::StartTls)
            }
            TlsUse::Required => Some(self.end(Trouble::NoTls)),
            TlsUse::IfOffered | TlsUse::Never | TlsUse::Active => self.log_in(),
        }
    }

    fn tls_refused(&mut self, reply: Reply) -> Option<Event> {
        let credentials = self.plan.credentials.as_ref();
        let is_needed = credentials.is_some_and(|credentials| !credentials.in_clear);
        if self.plan.tls == TlsUse::Required || is_needed {
            Some(self.end(Trouble::TlsRefused(reply)))
        } else {
            self.log_in()
        }
    }

    /// Sends AUTH, if there are credentials. There is only one attempt: if the client went on to
    /// another mechanism after a refusal, the server could make it use the weakest.
    fn log_in(&mut self) -> Option<Event> {
        let Some(credentials) = self.plan.credentials.take() else {
            return self.enter(ClientState::Idle { reset: false });
        };
        if self.plan.tls != TlsUse::Active && !credentials.in_clear {
            return Some(self.end(Trouble::AuthInClear));
        }
        let Some((mechanism, login, command)) = AuthExchange::begin(credentials, &self.peer) else {
            let offered = self.peer.auth.clone();
            return Some(self.end(Trouble::NoMechanism { offered }));
        };
        self.mechanism = Some(mechanism);
        self.say_in_exchange(login, &command)
    }

    fn challenged(&mut self, login: AuthExchange, challenge: &Reply) -> Option<Event> {
        match login.answer(challenge) {
            Ok((login, response)) => self.say_in_exchange(login, &response),
            Err(error) => Some(self.end(Trouble::Challenge(error))),
        }
    }

    fn logged_in(&mut self, login: &AuthExchange) -> Option<Event> {
        self.wipe();
        match login.end() {
            Ok(()) => self.enter(ClientState::Idle { reset: false }),
            Err(error) => Some(self.end(Trouble::Challenge(error))),
        }
    }

    fn say_in_exchange(&mut self, login: AuthExchange, line: &str) -> Option<Event> {
        self.wipe();
        // Built in one piece, so that no copy of a part is left in memory.
        self.output.reserve(line.len() + 2);
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
        self.state = ClientState::Auth(login);
        None
    }

    /// Overwrites the output, if it has been sent.
    fn wipe(&mut self) {
        if self.output.is_empty() {
            self.output.zeroize();
        }
    }
}
