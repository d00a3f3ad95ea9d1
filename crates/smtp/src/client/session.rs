//! The state machine of the client: the commands sent on entering a state, and the handling of
//! replies.

use std::fmt;

use zeroize::Zeroize;

use crate::client::envelope::{Answer, Commands, Envelope, lack};
use crate::client::event::{Event, Trouble};
use crate::client::extensions::Extensions;
use crate::client::login::AuthExchange;
use crate::client::plan::{Plan, TlsUse};
use crate::client::transaction::Transaction;
use crate::outcome::Stage;
use crate::reply::Reply;
use crate::reply_parser::ReplyParser;
use crate::sasl::Mechanism;

/// RFC 5321 §3.8: the server is about to close the connection. It may be the reply to any command.
const CLOSING: u16 = 421;

/// The client's side of one session, for any number of transactions.
///
/// ```
/// use relay_smtp::client::{ClientSession, Event, Plan};
///
/// let mut session = ClientSession::new("relay.example.org", Plan::CLEAR);
/// let mut input = &b"220 mx.example.com ready\r\n"[..];
/// assert_eq!(session.receive(&mut input), None);
/// assert_eq!(session.output().as_slice(), b"EHLO relay.example.org\r\n");
///
/// session.output().clear();
/// let mut input = &b"250-mx.example.com\r\n250 PIPELINING\r\n"[..];
/// assert_eq!(session.receive(&mut input), Some(Event::Ready));
/// assert!(session.extensions().pipelining && session.is_idle());
/// ```
pub struct ClientSession {
    name: String,
    /// It contains the credentials until they are used.
    pub(super) plan: Plan,
    parser: ReplyParser,
    pub(super) peer: Extensions,
    pub(super) mechanism: Option<Mechanism>,
    pub(super) output: Vec<u8>,
    pub(super) state: ClientState,
}

/// The reply that the session waits for, with the data that is needed to handle it.
#[derive(Debug)]
pub(super) enum ClientState {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// After the 220 to STARTTLS: the next octets belong to the handshake. Then the session goes
    /// back to `Ehlo` and forgets everything from before (RFC 3207 §4.2).
    Handshake,
    Auth(AuthExchange),
    /// No transaction is open. `reset`: the last one may still be open at the peer.
    Idle {
        reset: bool,
    },
    Rset(Transaction),
    Mail(Transaction),
    /// The number is the position in `asked` of the recipient whose reply comes next.
    Rcpt(Transaction, usize),
    Data(Transaction),
    /// The message is being sent; no reply is due.
    Content(Transaction),
    /// The final dot has been sent.
    Dot(Transaction),
    /// A lone dot was sent after an unwanted 354 (RFC 2920 §3.1).
    LoneDot(Transaction),
    Quit,
    /// Nothing more can be sent. Contains the transaction that was under way, if any.
    Over(Option<Transaction>),
}

impl ClientSession {
    /// Makes a session for a new connection. `name` is our own name for EHLO.
    pub fn new(name: impl Into<String>, plan: Plan) -> Self {
        Self {
            name: name.into(),
            plan,
            parser: ReplyParser::default(),
            peer: Extensions::default(),
            mechanism: None,
            output: Vec::new(),
            state: ClientState::Greeting,
        }
    }

    /// The octets to send before more input is read. The caller empties it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The step whose reply is due. It is used for timeouts and error messages.
    pub fn stage(&self) -> Stage {
        self.state.stage()
    }

    /// Reports that the handshake of [`Event::StartTls`] is done. The session forgets everything
    /// from before it (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        if let ClientState::Handshake = self.state {
            self.plan.tls = TlsUse::Active;
            self.peer = Extensions::default();
            self.parser = ReplyParser::default();
            self.output = Vec::new();
            self.enter(ClientState::Ehlo);
        }
    }

    /// The extensions that the peer offered.
    pub fn extensions(&self) -> &Extensions {
        &self.peer
    }

    /// The mechanism of the login, or of the attempt.
    pub fn mechanism(&self) -> Option<Mechanism> {
        self.mechanism
    }

    /// Whether another transaction can begin now.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, ClientState::Idle { .. }) && self.parser.is_empty()
    }

    /// Whether the final dot has been sent and its reply has not come. If the connection breaks
    /// now, it is unknown whether the peer took the message (RFC 1047).
    pub fn may_have_been_taken(&self) -> bool {
        matches!(self.state, ClientState::Dot(_))
    }

    /// Whether no reply to the open transaction has come yet. If the connection breaks now, the
    /// peer may have closed it before the transaction began.
    pub fn is_unanswered(&self) -> bool {
        match &self.state {
            ClientState::Rset(t) | ClientState::Mail(t) | ClientState::Over(Some(t)) => !t.answered,
            _ => false,
        }
    }

    /// The number of complete replies so far. After each one the next time limit begins.
    pub fn replies(&self) -> u64 {
        self.parser.whole()
    }

    /// Begins a transaction. Returns `Some` if it is over at once, because the peer can take none
    /// of it.
    ///
    /// # Panics
    ///
    /// If the session is not idle.
    pub fn begin(&mut self, envelope: &Envelope<'_>) -> Option<Event> {
        let ClientState::Idle { reset } = self.state else {
            panic!("a transaction begins when the session is idle");
        };
        let lacks = envelope
            .recipients
            .iter()
            .map(|r| lack(envelope, r, &self.peer));
        let answers: Vec<_> = lacks.map(|l| l.map(Answer::Unsupported)).collect();
        let asked: Vec<_> = (0..answers.len())
            .filter(|&i| answers[i].is_none())
            .collect();
        let transaction = Transaction {
            commands: Commands::new(envelope, &asked, &self.peer, reset),
            asked,
            answers,
            accepted: 0,
            answered: false,
        };
        if transaction.asked.is_empty() {
            return Some(self.finish(transaction, ClientState::Idle { reset }));
        }
        self.enter(if reset {
            ClientState::Rset(transaction)
        } else {
            ClientState::Mail(transaction)
        })
    }

    /// Reports that the whole message has been sent, including the final dot.
    pub fn content_sent(&mut self) {
        self.state = match std::mem::replace(&mut self.state, ClientState::Over(None)) {
            ClientState::Content(transaction) => ClientState::Dot(transaction),
            other => other,
        };
    }

    /// Sends QUIT, if no transaction is under way.
    pub fn quit(&mut self) {
        if let ClientState::Idle { .. } = self.state {
            self.enter(ClientState::Quit);
        }
    }

    /// Consumes octets from the front of `input` up to the next event. Returns `None` if all are
    /// consumed without an event.
    pub fn receive(&mut self, input: &mut &[u8]) -> Option<Event> {
        while !input.is_empty() {
            if let ClientState::Handshake = self.state {
                *input = &[];
                return None;
            }
            let event = match self.parser.parse(input) {
                Ok(Some(reply)) => self.reply(reply),
                Ok(None) => None,
                Err(error) => {
                    let stage = self.stage();
                    Some(self.end(Trouble::Garbled(stage, error)))
                }
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// Ends the session and returns the answers so far. The answer is `None` for recipients without
    /// a result.
    pub fn abandon(&mut self) -> Vec<Option<Answer>> {
        let state = std::mem::replace(&mut self.state, ClientState::Over(None));
        state.transaction().map(|t| t.answers).unwrap_or_default()
    }

    /// Sends the command of a state on entering it.
    pub(super) fn enter(&mut self, mut state: ClientState) -> Option<Event> {
        let output = &mut self.output;
        let event = match &mut state {
            ClientState::Ehlo => say(output, &["EHLO ", &self.name]),
            ClientState::Helo => say(output, &["HELO ", &self.name]),
            ClientState::StartTls => say(output, &["STARTTLS"]),
            ClientState::Handshake => Some(Event::StartTls),
            ClientState::Idle { .. } => Some(Event::Ready),
            ClientState::Rset(t)
            | ClientState::Mail(t)
            | ClientState::Rcpt(t, _)
            | ClientState::Data(t) => {
                output.extend_from_slice(t.commands.release());
                None
            }
            ClientState::Content(_) => Some(Event::Content),
            ClientState::LoneDot(_) => say(output, &["."]),
            ClientState::Quit => say(output, &["QUIT"]),
            ClientState::Greeting
            | ClientState::Auth(_)
            | ClientState::Dot(_)
            | ClientState::Over(_) => None,
        };
        self.state = state;
        event
    }

    /// Handles a reply in the current state.
    fn reply(&mut self, reply: Reply) -> Option<Event> {
        match std::mem::replace(&mut self.state, ClientState::Over(None)) {
            ClientState::Quit | ClientState::Over(None) => None,
            found if reply.code() == CLOSING => {
                let stage = found.stage();
                self.state = found;
                Some(self.end(Trouble::Refused(stage, reply)))
            }
            found @ (ClientState::Greeting
            | ClientState::Ehlo
            | ClientState::Helo
            | ClientState::StartTls
            | ClientState::Handshake
            | ClientState::Auth(_)) => self.opening_reply(found, reply),
            found => self.transaction_reply(found, reply),
        }
    }

    fn transaction_reply(&mut self, found: ClientState, reply: Reply) -> Option<Event> {
        let stage = found.stage();
        let (yes, no) = (reply.is_positive(), is_refusal(&reply));
        match found {
            ClientState::Rset(t) if yes => self.enter(ClientState::Mail(t.answered())),
            ClientState::Mail(t) if yes => self.enter(ClientState::Rcpt(t.answered(), 0)),
            ClientState::Mail(t) if no => self.mail_refused(t.answered(), &reply),
            ClientState::Rcpt(t, i) if yes || no => self.rcpt_answered(t, i, reply),
            ClientState::Data(t) if reply.is_intermediate() && t.accepted > 0 => {
                self.enter(ClientState::Content(t))
            }
            ClientState::Data(t) if reply.is_intermediate() => self.enter(ClientState::LoneDot(t)),
            ClientState::Data(t) | ClientState::Dot(t) if no => {
                Some(self.finish(t.refused(stage, &reply), ClientState::Idle { reset: true }))
            }
            // The peer replied before the end of the message, so the rest is not sent.
            ClientState::Content(t) if no => {
                Some(self.finish(t.refused(stage, &reply), ClientState::Over(None)))
            }
            ClientState::Dot(t) if yes => {
                let taken = t.answer_open(|| Answer::Taken(reply.clone()));
                Some(self.finish(taken, ClientState::Idle { reset: false }))
            }
            ClientState::LoneDot(t) => Some(self.finish(t, ClientState::Idle { reset: true })),
            other => {
                self.state = other;
                Some(self.end(Trouble::Unexpected(stage, reply)))
            }
        }
    }

    /// The peer also answers the commands that were already sent after a refused MAIL.
    fn mail_refused(&mut self, t: Transaction, reply: &Reply) -> Option<Event> {
        let t = t.refused(Stage::Mail, reply);
        if t.commands.is_pipelined() {
            self.enter(ClientState::Rcpt(t, 0))
        } else {
            Some(self.finish(t, ClientState::Idle { reset: true }))
        }
    }

    fn rcpt_answered(&mut self, mut t: Transaction, i: usize, reply: Reply) -> Option<Event> {
        match t.asked.get(i).and_then(|&r| t.answers.get_mut(r)) {
            Some(Some(_)) | None => {}
            Some(None) if reply.is_positive() => t.accepted += 1,
            Some(open) => *open = Some(Answer::Refused(Stage::Rcpt, reply)),
        }
        if i + 1 < t.asked.len() {
            self.enter(ClientState::Rcpt(t, i + 1))
        } else if t.accepted > 0 || t.commands.is_pipelined() {
            self.enter(ClientState::Data(t))
        } else {
            Some(self.finish(t, ClientState::Idle { reset: true }))
        }
    }

    /// Ends the transaction. Every recipient has its answer.
    fn finish(&mut self, transaction: Transaction, next: ClientState) -> Event {
        self.state = next;
        Event::Finished(transaction.answers.into_iter().flatten().collect())
    }

    /// Ends the session. If every recipient already has its answer, the transaction counts as
    /// finished.
    pub(super) fn end(&mut self, trouble: Trouble) -> Event {
        let state = std::mem::replace(&mut self.state, ClientState::Over(None));
        match state.transaction() {
            Some(t) if t.answers.iter().all(Option::is_some) => {
                self.finish(t, ClientState::Over(None))
            }
            transaction => {
                self.state = ClientState::Over(transaction);
                Event::Broken(trouble)
            }
        }
    }
}

/// Shows no octets and no addresses, because they may contain a password.
impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("stage", &self.stage())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Output that was not sent may contain a password.
impl Drop for ClientSession {
    fn drop(&mut self) {
        self.output.zeroize();
    }
}

impl ClientState {
    pub(super) fn stage(&self) -> Stage {
        match self {
            ClientState::Greeting => Stage::Greeting,
            ClientState::Ehlo | ClientState::Helo => Stage::Hello,
            ClientState::StartTls | ClientState::Handshake => Stage::Tls,
            ClientState::Auth(_) => Stage::Auth,
            ClientState::Idle { .. } | ClientState::Rset(_) | ClientState::Mail(_) => Stage::Mail,
            ClientState::Rcpt(..) => Stage::Rcpt,
            ClientState::Data(_) => Stage::Data,
            ClientState::Content(_) | ClientState::Dot(_) | ClientState::LoneDot(_) => {
                Stage::Message
            }
            ClientState::Quit | ClientState::Over(_) => Stage::Connect,
        }
    }

    fn transaction(self) -> Option<Transaction> {
        match self {
            ClientState::Rset(t)
            | ClientState::Mail(t)
            | ClientState::Rcpt(t, _)
            | ClientState::Data(t)
            | ClientState::Content(t)
            | ClientState::Dot(t)
            | ClientState::LoneDot(t)
            | ClientState::Over(Some(t)) => Some(t),
            ClientState::Greeting
            | ClientState::Ehlo
            | ClientState::Helo
            | ClientState::StartTls
            | ClientState::Handshake
            | ClientState::Auth(_)
            | ClientState::Idle { .. }
            | ClientState::Quit
            | ClientState::Over(None) => None,
        }
    }
}

pub(super) fn is_refusal(reply: &Reply) -> bool {
    reply.is_transient() || reply.is_permanent()
}

/// Appends one command. There is no event until its reply comes.
fn say(output: &mut Vec<u8>, parts: &[&str]) -> Option<Event> {
    for part in parts {
        output.extend_from_slice(part.as_bytes());
    }
    output.extend_from_slice(b"\r\n");
    None
}
