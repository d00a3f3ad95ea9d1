//! The state machine: what is sent on entering a state, and what a reply means there.

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

/// RFC 5321 §3.8: the server is about to close the connection, whatever was asked.
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
    /// The credentials are in it until they are used.
    pub(super) plan: Plan,
    parser: ReplyParser,
    pub(super) peer: Extensions,
    pub(super) mechanism: Option<Mechanism>,
    pub(super) output: Vec<u8>,
    pub(super) state: ClientState,
}

/// Which reply is waited for, with what is needed to understand it.
#[derive(Debug)]
pub(super) enum ClientState {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// Behind the 220 to STARTTLS: whatever comes now is the handshake's, not ours. The session
    /// goes back to `Ehlo`, with all that was said before forgotten (RFC 3207 §4.2).
    Handshake,
    Auth(AuthExchange),
    /// No transaction. `reset`: the last one may have left something behind.
    Idle {
        reset: bool,
    },
    Rset(Transaction),
    Mail(Transaction),
    /// Behind the transaction, which of the recipients asked for.
    Rcpt(Transaction, usize),
    Data(Transaction),
    /// The message is on its way; no reply is due.
    Content(Transaction),
    /// The final dot has been sent.
    Dot(Transaction),
    /// A lone dot after an unwanted 354 (RFC 2920 §3.1).
    LoneDot(Transaction),
    Quit,
    /// Nothing more can be said; the transaction that was under way, if any.
    Over(Option<Transaction>),
}

impl ClientSession {
    /// A session on a connection that has just opened; `name` is our own for EHLO.
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

    /// What is to be sent before anything is read; the caller empties it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The step whose reply is waited for: for timeouts, and to say where a connection broke.
    pub fn stage(&self) -> Stage {
        self.state.stage()
    }

    /// The handshake that [`Event::StartTls`] asked for is done: what was said before it is
    /// forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        if let ClientState::Handshake = self.state {
            self.plan.tls = TlsUse::Active;
            self.peer = Extensions::default();
            self.parser = ReplyParser::default();
            self.output = Vec::new();
            self.enter(ClientState::Ehlo);
        }
    }

    /// What the peer offered.
    pub fn extensions(&self) -> &Extensions {
        &self.peer
    }

    /// By which mechanism it has logged in, or tried to.
    pub fn mechanism(&self) -> Option<Mechanism> {
        self.mechanism
    }

    /// Whether another transaction can begin now.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, ClientState::Idle { .. }) && self.parser.is_empty()
    }

    /// Whether the final dot has gone out and its reply has not come: if the connection breaks now,
    /// nobody knows whether the peer took the message (RFC 1047).
    pub fn may_have_been_taken(&self) -> bool {
        matches!(self.state, ClientState::Dot(_))
    }

    /// Whether the transaction under way has not been answered by a single reply: if the connection
    /// breaks now, the peer may have closed it before the transaction began.
    pub fn is_unanswered(&self) -> bool {
        match &self.state {
            ClientState::Rset(t) | ClientState::Mail(t) | ClientState::Over(Some(t)) => !t.answered,
            _ => false,
        }
    }

    /// Replies heard so far. When one has come whole, the time limit of the next begins.
    pub fn replies(&self) -> u64 {
        self.parser.whole()
    }

    /// Begins a transaction. `Some` if it is over at once, because the peer can take none of it.
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

    /// The whole message has been sent, its final dot included.
    pub fn content_sent(&mut self) {
        self.state = match std::mem::replace(&mut self.state, ClientState::Over(None)) {
            ClientState::Content(transaction) => ClientState::Dot(transaction),
            other => other,
        };
    }

    /// Says goodbye, if nothing is under way.
    pub fn quit(&mut self) {
        if let ClientState::Idle { .. } = self.state {
            self.enter(ClientState::Quit);
        }
    }

    /// Takes octets from the front of `input` until something has come of them; `None` when all are
    /// taken and nothing has.
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

    /// Ends the session: the answers so far, `None` for recipients whose fate is open.
    pub fn abandon(&mut self) -> Vec<Option<Answer>> {
        let state = std::mem::replace(&mut self.state, ClientState::Over(None));
        state.transaction().map(|t| t.answers).unwrap_or_default()
    }

    /// What is sent on entering a state.
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

    /// What a reply means in the state that it finds.
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
            // A reply before the end of the message: the peer has heard enough.
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

    /// What was sent behind a refused MAIL is answered all the same.
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

    /// The transaction is over; every recipient has its answer.
    fn finish(&mut self, transaction: Transaction, next: ClientState) -> Event {
        self.state = next;
        Event::Finished(transaction.answers.into_iter().flatten().collect())
    }

    /// The session is over; if the transaction was decided already, that stands.
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

/// Nothing of what is said, nor of whom for: it may be a password.
impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("stage", &self.stage())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// What was not sent any more may be a password.
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

/// Appends one command. No event comes of it until it is answered.
fn say(output: &mut Vec<u8>, parts: &[&str]) -> Option<Event> {
    for part in parts {
        output.extend_from_slice(part.as_bytes());
    }
    output.extend_from_slice(b"\r\n");
    None
}
