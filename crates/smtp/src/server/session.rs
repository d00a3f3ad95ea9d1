//! The state machine of the server's session.

use std::mem;
use std::time::{Duration, Instant};

use crate::address::{ForwardPath, ReversePath};
use crate::command;
use crate::recipient::Recipient;
use crate::reply::Reply;
use crate::sasl::{Response, UserName};

use super::event::{Hello, MailRequest, Refusal, ServerEvent, Transaction};
use super::exchange::Exchange;
use super::line::{Kind, LineReader};
use super::receiving::Receiving;
use super::replies;
use super::settings::{BareAddress, Channel, Settings};

/// The most octets of replies that may gather. A client that does not read its replies has to wait.
const OUTPUT: usize = 16 * 1024;

/// The longest time limit that is used, because an `Instant` has a limited range.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

fn deadline(now: Instant, timeout: Duration) -> Instant {
    now + timeout.min(LONGEST)
}

/// The server's side of one session.
///
/// ```
/// use std::time::Instant;
///
/// use relay_smtp::server::{
///     BareAddress, Channel, ServerEvent, ServerSession, SessionLimits, Settings,
/// };
///
/// # #[expect(clippy::disallowed_methods, reason = "an example needs some instant")]
/// let now = Instant::now();
/// let settings = Settings {
///     hostname: "mx.example.org".into(),
///     limits: SessionLimits::default(),
///     starttls: false,
///     auth: false,
///     bare_address: BareAddress::Refuse,
/// };
/// let mut session = ServerSession::new(settings, Channel::Clear, now);
/// assert!(session.take_output().starts_with(b"220 mx.example.org"));
///
/// let input = b"EHLO client.example.com\r\nMAIL FROM:<ann@example.com>\r\n";
/// let mut message = Vec::new();
/// let step = session.handle(input, &mut message, now);
/// let Some(ServerEvent::Mail(request)) = step.event else {
///     panic!("MAIL asks whether the sender is accepted");
/// };
/// assert_eq!(step.consumed, input.len());
/// session.accept_sender(request);
/// let output = session.take_output();
/// assert!(output.ends_with(b"250 2.1.0 ok\r\n"), "{}", String::from_utf8_lossy(&output));
/// ```
#[derive(Debug)]
pub struct ServerSession {
    pub(super) settings: Settings,
    pub(super) state: ServerState,
    channel: Channel,
    pub(super) user: Option<UserName>,
    lines: LineReader,
    output: Vec<u8>,
    errors: u32,
    deadline: Instant,
}

/// The state of the session. Each state contains the data that is known in it.
#[derive(Debug)]
pub(super) enum ServerState {
    Connected,
    Ready(Hello),
    Transaction(Hello, Transaction),
    Receiving(Hello, Box<Receiving>),
    Authenticating(Hello, Box<Exchange>),
    /// After STARTTLS: the next octets belong to the handshake.
    Handshake,
    Closed,
}

/// The result of one call of [`ServerSession::handle`].
#[derive(Debug)]
pub struct SessionStep {
    /// The octets of input that were consumed.
    pub consumed: usize,
    /// The event. `None` means that all input was consumed and more is needed.
    pub event: Option<ServerEvent>,
}

impl ServerSession {
    /// Begins a session on `channel` at `now`. The output contains the greeting.
    pub fn new(settings: Settings, channel: Channel, now: Instant) -> Self {
        let mut session = Self {
            deadline: deadline(now, settings.limits.command_timeout),
            settings,
            state: ServerState::Connected,
            channel,
            user: None,
            lines: LineReader::default(),
            output: Vec::new(),
            errors: 0,
        };
        replies::greeting(&session.settings.hostname).encode(&mut session.output);
        session
    }

    /// Consumes input up to the next event. Call it again until it needs more input or returns
    /// [`ServerEvent::Close`]. A question must be answered before the next call.
    ///
    /// `message` gathers the decoded octets of a message. The driver empties it at
    /// [`ServerEvent::Content`] and [`ServerEvent::MessageEnd`] and must not change it at other
    /// times. It never holds more than `header_size` octets and one input.
    pub fn handle(&mut self, input: &[u8], message: &mut Vec<u8>, now: Instant) -> SessionStep {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let (taken, event) = match &self.state {
                ServerState::Closed => (0, Some(ServerEvent::Close)),
                _ if self.output.len() > OUTPUT => (0, Some(ServerEvent::Flush)),
                ServerState::Handshake => (rest.len(), None),
                _ if rest.is_empty() => (0, None),
                ServerState::Receiving(..) => self.receive(rest, message, now),
                ServerState::Authenticating(_, exchange) => match &**exchange {
                    Exchange::Due(_) => self.read_response(rest, now),
                    // A question without an answer counts as refused.
                    Exchange::Asked(_) => {
                        self.refuse(&replies::authentication_unavailable());
                        (0, None)
                    }
                },
                ServerState::Connected | ServerState::Ready(_) | ServerState::Transaction(..) => {
                    self.read_command(rest, now)
                }
            };
            consumed += taken;
            if event.is_some() || rest.is_empty() {
                return SessionStep { consumed, event };
            }
        }
    }

    /// When [`Self::handle_timeout`] must be called if no input comes.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Reports that the deadline has passed.
    pub fn handle_timeout(&mut self) {
        self.refuse(&replies::timeout());
    }

    /// Takes the output. It is to be sent when the session needs more input, so that the replies to
    /// a group of commands go out together (RFC 2920 §3.2).
    pub fn take_output(&mut self) -> Vec<u8> {
        mem::take(&mut self.output)
    }

    /// The client's EHLO or HELO, if it has been sent.
    pub fn hello(&self) -> Option<&Hello> {
        match &self.state {
            ServerState::Ready(hello)
            | ServerState::Transaction(hello, _)
            | ServerState::Receiving(hello, _)
            | ServerState::Authenticating(hello, _) => Some(hello),
            ServerState::Connected | ServerState::Handshake | ServerState::Closed => None,
        }
    }

    /// The sender of the open transaction.
    pub fn sender(&self) -> Option<&ReversePath> {
        match &self.state {
            ServerState::Transaction(_, transaction) => Some(&transaction.sender),
            ServerState::Receiving(_, receiving) => Some(&receiving.transaction().sender),
            ServerState::Connected
            | ServerState::Ready(_)
            | ServerState::Authenticating(..)
            | ServerState::Handshake
            | ServerState::Closed => None,
        }
    }

    /// Whether the connection is now in clear or under TLS.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// The user who is logged in.
    pub fn user(&self) -> Option<&UserName> {
        self.user.as_ref()
    }

    /// Reports that the handshake of [`ServerEvent::StartTls`] is done. The session forgets
    /// everything from before it (RFC 3207 §4.2). At any other time the call does nothing.
    pub fn tls_started(&mut self, now: Instant) {
        if let ServerState::Handshake = self.state {
            self.state = ServerState::Connected;
            self.channel = Channel::Tls;
            self.user = None;
            self.lines = LineReader::default();
            self.output = Vec::new();
            self.progress(now);
        }
    }

    /// Whether a message is coming in. A shutdown waits only for such sessions.
    pub fn is_receiving(&self) -> bool {
        matches!(self.state, ServerState::Receiving(..))
    }

    /// Accepts [`ServerEvent::Mail`].
    pub fn accept_sender(&mut self, request: MailRequest) {
        if let Some(hello) = self.end_transaction() {
            self.state = ServerState::Transaction(
                hello,
                Transaction {
                    sender: request.sender,
                    recipients: Vec::new(),
                    eight_bit: request.eight_bit,
                    utf8: request.utf8,
                    dsn: request.dsn,
                    lacks_header: false,
                },
            );
            self.reply(&replies::sender_ok());
        }
    }

    /// Accepts [`ServerEvent::Rcpt`], with this recipient or another one in its place.
    pub fn accept_recipient(&mut self, recipient: Recipient) {
        if let ServerState::Transaction(_, transaction) = &mut self.state {
            transaction.recipients.push(recipient);
            self.reply(&replies::recipient_ok());
        }
    }

    /// Accepts [`ServerEvent::Data`].
    pub fn accept_message(&mut self) {
        match mem::replace(&mut self.state, ServerState::Closed) {
            ServerState::Transaction(hello, transaction) => {
                let receiving = Receiving::new(transaction, &self.settings.limits);
                self.state = ServerState::Receiving(hello, Box::new(receiving));
                self.reply(&replies::go_ahead());
            }
            other => self.state = other,
        }
    }

    /// Refuses any question. A `421` ends the session (RFC 5321 §3.8). Any other refusal of a
    /// message is sent at its end, and the rest of the message is discarded.
    pub fn refuse(&mut self, reply: &Reply) {
        match &mut self.state {
            // A reply can no longer be sent in clear, and not yet under TLS.
            ServerState::Closed | ServerState::Handshake => {}
            ServerState::Receiving(_, receiving) if reply.code() != 421 => {
                receiving.refuse(reply.clone());
            }
            _ => self.reply(reply),
        }
        if let ServerState::Authenticating(hello, _) = &self.state {
            self.state = ServerState::Ready(hello.clone());
        }
        if reply.code() == 421 {
            self.state = ServerState::Closed;
        }
    }

    /// Sends the reply to a complete message at `now`. The time limit for the next command begins
    /// here.
    pub fn finish_message(&mut self, reply: &Reply, now: Instant) {
        self.reply(reply);
        self.progress(now);
    }

    /// Reports that a question was answered at `now`. The time limit for the next command begins
    /// here.
    pub fn answered(&mut self, now: Instant) {
        self.progress(now);
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        reply.encode(&mut self.output);
    }

    fn progress(&mut self, now: Instant) {
        self.deadline = deadline(now, self.settings.limits.command_timeout);
    }

    fn receive(
        &mut self,
        input: &[u8],
        message: &mut Vec<u8>,
        now: Instant,
    ) -> (usize, Option<ServerEvent>) {
        let ServerState::Receiving(_, receiving) = &mut self.state else {
            return (0, None);
        };
        let received = receiving.take(input, message);
        let is_complete = receiving.header_has_ended() && !message.is_empty();
        let event = if let Some(reply) = received.refusal {
            let sender = Some(receiving.transaction().sender.clone());
            Some(ServerEvent::Refused(Refusal {
                command: "end of DATA",
                sender,
                recipient: None,
                argument: None,
                reply,
            }))
        } else if is_complete && !received.ended {
            Some(ServerEvent::Content)
        } else {
            None
        };
        self.progress(now);
        if !received.ended {
            return (received.consumed, event);
        }
        let ended = self.end_message();
        (received.consumed, event.or(ended))
    }

    /// Handles the end of the message. For a good message the driver decides on the reply; another
    /// one gets the reply for its error.
    fn end_message(&mut self) -> Option<ServerEvent> {
        match mem::replace(&mut self.state, ServerState::Closed) {
            ServerState::Receiving(hello, receiving) => {
                self.state = ServerState::Ready(hello);
                match receiving.finish() {
                    Ok(transaction) => Some(ServerEvent::MessageEnd(transaction)),
                    Err(reply) => {
                        self.reply(&reply);
                        None
                    }
                }
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    fn read_response(&mut self, input: &[u8], now: Instant) -> (usize, Option<ServerEvent>) {
        let (consumed, line) = self
            .lines
            .read(input, Kind::Response, |line| Response::new(line));
        let event = line.and_then(|line| {
            self.progress(now);
            match line {
                Ok(response) => self.handle_response(&response),
                Err(error) => Some(self.handle_line_error(error)),
            }
        });
        (consumed, event)
    }

    fn read_command(&mut self, input: &[u8], now: Instant) -> (usize, Option<ServerEvent>) {
        let domain = match &self.settings.bare_address {
            BareAddress::Complete(domain) => Some(domain),
            BareAddress::CompleteForUsers(domain) => self.user.is_some().then_some(domain),
            BareAddress::Refuse => None,
        };
        let (consumed, line) = self.lines.read(input, Kind::Command, |line| {
            command::parse_with(line, domain.map(|domain| &**domain))
                .map_err(|error| (error, error.argument_of(line)))
        });
        let event = line.and_then(|line| {
            self.progress(now);
            match line {
                Ok(Ok(command)) => self.handle_command(command),
                Ok(Err((error, argument))) => Some(self.handle_command_error(error, argument)),
                Err(error) => Some(self.handle_line_error(error)),
            }
        });
        (consumed, event)
    }

    /// Ends the transaction and returns the client's EHLO or HELO. Returns `None` before that
    /// command.
    pub(super) fn end_transaction(&mut self) -> Option<Hello> {
        match mem::replace(&mut self.state, ServerState::Closed) {
            ServerState::Ready(hello) | ServerState::Transaction(hello, _) => Some(hello),
            other => {
                self.state = other;
                None
            }
        }
    }

    pub(super) fn refused(
        &mut self,
        command: &'static str,
        sender: Option<ReversePath>,
        recipient: Option<ForwardPath>,
        reply: Reply,
    ) -> ServerEvent {
        self.refuse(&reply);
        ServerEvent::Refused(Refusal {
            command,
            sender,
            recipient,
            argument: None,
            reply,
        })
    }

    /// Counts a protocol error. Too many of them end the session.
    pub(super) fn protocol_error(&mut self, command: &'static str, reply: Reply) -> ServerEvent {
        self.errors = self.errors.saturating_add(1);
        let reply = if self.errors > self.settings.limits.errors {
            replies::too_many_errors()
        } else {
            reply
        };
        let sender = self.sender().cloned();
        self.refused(command, sender, None, reply)
    }
}
