//! With any client, any decisions and any pauses, the events and replies are the same however the
//! client's octets are split, and memory is bounded.
//!
//! The input is a transcript as in `tests/transcripts/server`, read leniently: `C:`, `C.`, `C*` and
//! `C+` are sent by the client, `T:` passes, `H:` makes the handshake, and `limit`, `offer` and `tls`
//! set the session. Only the answer in a `?` line matters; `S:` lines are ignored.

#![no_main]

mod octets;

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use relay_smtp::Reply;
use relay_smtp::body::BareNewline;
use relay_smtp::reply_parser::ReplyParser;
use relay_smtp::sasl::Secret;
use relay_smtp::sasl::scram::{Nonce, ScramVerifier};
use relay_smtp::server::{
    BareAddress, Channel, ServerEvent, ServerSession, SessionLimits, Settings, replies,
};

use octets::octets;

/// The verifier of the one password, the same as in the transcripts.
static VERIFIER: LazyLock<ScramVerifier> = LazyLock::new(|| {
    let password = Secret::new("s3cret").expect("plain text");
    let iterations = NonZeroU32::new(4096).expect("not zero");
    ScramVerifier::from_password(&password, b"salt of sixteen!".to_vec(), iterations)
});

/// The most octets that the client sends.
const SAID: usize = 64 * 1024;

fuzz_target!(|transcript: &[u8]| {
    let dialogue = Dialogue::read(transcript);
    let start = Instant::now();
    let whole = dialogue.play(start, false, |left| left);
    assert_eq!(dialogue.play(start, false, |_| 1), whole);
    let mut sizes = transcript.iter().cycle().map(|&octet| usize::from(octet));
    let by_sizes = dialogue.play(start, false, |_| sizes.next().unwrap_or(1));
    assert_eq!(by_sizes, whole);
    // The moment at which the store fails depends on the pieces, so the results are not compared.
    dialogue.play(start, true, |_| 100);
});

struct Dialogue {
    settings: Settings,
    channel: Channel,
    steps: Vec<Step>,
    /// Whether each question in turn is answered positively.
    answers: Vec<bool>,
    /// How many octets the client may still send.
    room: usize,
}

enum Step {
    Say(Vec<u8>),
    Wait(u64),
    Handshake,
}

impl Dialogue {
    fn read(transcript: &[u8]) -> Self {
        let mut dialogue = Self {
            settings: Settings {
                hostname: "relay.test".into(),
                limits: SessionLimits {
                    message_size: 2000,
                    header_size: 500,
                    line_length: 200,
                    recipients: 4,
                    hops: 5,
                    ..SessionLimits::default()
                },
                starttls: false,
                auth: false,
                bare_address: BareAddress::Refuse,
            },
            channel: Channel::Clear,
            steps: Vec::new(),
            answers: Vec::new(),
            room: SAID,
        };
        for line in transcript.split(|&octet| octet == b'\n') {
            dialogue.read_line(line);
        }
        dialogue
    }

    fn read_line(&mut self, line: &[u8]) {
        let (kind, rest) = line.split_at(line.len().min(2));
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        match kind {
            b"C:" => self.say(&[&octets(rest), &b"\r\n"[..]].concat(), 1),
            b"C." => self.say(&octets(rest), 1),
            b"C*" | b"C+" => {
                let (times, text) = number(rest);
                let text = octets(text.strip_prefix(b" ").unwrap_or(text));
                let end: &[u8] = if kind == b"C*" { b"\r\n" } else { b"" };
                self.say(&[&text, end].concat(), times);
            }
            b"H:" => self.steps.push(Step::Handshake),
            b"T:" => self.steps.push(Step::Wait(number(rest).0.min(1 << 32))),
            b"? " => {
                let mut ends = rest.windows(4);
                let is_no = ends.any(|end| matches!(end, b"-> 4" | b"-> 5"));
                self.answers.push(!is_no);
            }
            b"li" => self.limit(line),
            b"of" if line == b"offer starttls" => self.settings.starttls = true,
            b"of" if line == b"offer auth" => self.settings.auth = true,
            b"tl" if line == b"tls" => self.channel = Channel::Tls,
            _ => {}
        }
    }

    fn say(&mut self, octets: &[u8], times: u64) {
        let room = self.room / octets.len().max(1);
        let times = usize::try_from(times).map_or(room, |times| times.min(room));
        let said = octets.repeat(times);
        self.room -= said.len();
        match self.steps.last_mut() {
            Some(Step::Say(before)) => before.extend(said),
            Some(Step::Wait(_) | Step::Handshake) | None => self.steps.push(Step::Say(said)),
        }
    }

    fn limit(&mut self, line: &[u8]) {
        let mut words = line.split(|&octet| octet == b' ').skip(1);
        let (name, value) = (words.next(), words.next().unwrap_or_default());
        let count = number(value).0.min(100_000);
        let size = usize::try_from(count).unwrap_or_default();
        let limits = &mut self.settings.limits;
        match name.unwrap_or_default() {
            b"bare_newline" => limits.bare_newline = BareNewline::Normalize,
            b"message_size" => limits.message_size = count,
            b"header_size" => limits.header_size = size,
            b"line_length" => limits.line_length = size,
            b"recipients" => limits.recipients = size,
            b"hops" => limits.hops = u32::try_from(size).unwrap_or_default(),
            b"errors" => limits.errors = u32::try_from(size).unwrap_or_default(),
            _ => {}
        }
    }

    fn play(
        &self,
        start: Instant,
        store_fails: bool,
        mut piece: impl FnMut(usize) -> usize,
    ) -> (Vec<String>, Vec<u8>) {
        let mut run = Run::new(self, start, store_fails);
        for step in &self.steps {
            match step {
                Step::Wait(seconds) => {
                    run.now += Duration::from_secs(*seconds);
                    if run.now >= run.session.deadline() {
                        run.session.handle_timeout();
                    }
                }
                Step::Handshake => run.shake_hands(),
                Step::Say(octets) => {
                    let mut rest = octets.as_slice();
                    while !rest.is_empty() {
                        let (now, later) = rest.split_at(piece(rest.len()).clamp(1, rest.len()));
                        if !run.feed(now) {
                            return run.end();
                        }
                        rest = later;
                    }
                }
            }
        }
        run.end()
    }
}

struct Run<'a> {
    session: ServerSession,
    limits: &'a SessionLimits,
    /// Whether a handshake is due. Until it is done, input is discarded and nothing may be sent.
    in_handshake: bool,
    now: Instant,
    answers: std::slice::Iter<'a, bool>,
    store_fails: bool,
    message: Vec<u8>,
    passed_on: Vec<u8>,
    events: Vec<String>,
    output: Vec<u8>,
}

impl<'a> Run<'a> {
    fn new(dialogue: &'a Dialogue, now: Instant, store_fails: bool) -> Self {
        let settings = dialogue.settings.clone();
        Self {
            session: ServerSession::new(settings, dialogue.channel, now),
            limits: &dialogue.settings.limits,
            in_handshake: false,
            now,
            answers: dialogue.answers.iter(),
            store_fails,
            message: Vec::new(),
            passed_on: Vec::new(),
            events: Vec::new(),
            output: Vec::new(),
        }
    }

    fn shake_hands(&mut self) {
        self.output.extend(self.session.take_output());
        self.session.tls_started(self.now);
        let is_new = self.session.hello().is_none() && self.session.user().is_none();
        assert!(!self.in_handshake || is_new, "the state is reset");
        self.in_handshake = false;
    }

    /// Whether the session still takes input.
    fn feed(&mut self, mut input: &[u8]) -> bool {
        let most = self.limits.header_size + input.len();
        loop {
            let step = self.session.handle(input, &mut self.message, self.now);
            assert!(
                self.message.len() <= most,
                "no more than the header is gathered"
            );
            input = &input[step.consumed..];
            let Some(event) = step.event else {
                assert!(
                    input.is_empty(),
                    "it asks for more only after it has consumed all input"
                );
                let said = self.session.take_output();
                assert!(
                    !self.in_handshake || said.is_empty(),
                    "no output during the handshake"
                );
                self.output.extend(said);
                let is_known = self.session.user().is_some();
                assert!(!is_known || self.session.channel() == Channel::Tls);
                return true;
            };
            if event == ServerEvent::Close {
                return false;
            }
            self.handle(event);
        }
    }

    fn handle(&mut self, event: ServerEvent) {
        let text = format!("{event:?}");
        match event {
            ServerEvent::Content if self.store_fails => {
                self.session.refuse(&replies::store_failed());
                self.message.clear();
            }
            ServerEvent::Content => self.passed_on.append(&mut self.message),
            ServerEvent::Flush => self.output.extend(self.session.take_output()),
            ServerEvent::StartTls => {
                self.output.extend(self.session.take_output());
                self.in_handshake = true;
                self.events.push(text);
            }
            ServerEvent::Refused(_) => {
                self.passed_on.clear();
                self.events.push(text);
            }
            ServerEvent::MessageEnd(_) => {
                self.passed_on.append(&mut self.message);
                assert!(self.passed_on.len() as u64 <= self.limits.message_size);
                self.events.push(format!("{text} {:?}", self.passed_on));
                self.passed_on.clear();
                let verdict = match self.answer() {
                    true => replies::queued(&"ID"),
                    false => replies::store_failed(),
                };
                self.session.finish_message(&verdict, self.now);
            }
            ServerEvent::Authenticate(login) => {
                self.events
                    .push(format!("{text} {}", login.secret.expose()));
                match self.answer() {
                    true => self.session.accept_user(login.user),
                    false => self.session.refuse(&replies::authentication_failed()),
                }
            }
            ServerEvent::ScramDone { user, verified } => {
                self.events.push(text);
                match self.answer() {
                    true => self.session.accept_user(user),
                    false => self.session.refuse(&replies::authentication_failed()),
                }
                assert!(verified || self.session.user().is_none());
            }
            question => {
                self.events.push(text);
                match (question, self.answer()) {
                    (ServerEvent::Mail(request), true) => self.session.accept_sender(request),
                    (ServerEvent::Rcpt(recipient), true) => {
                        self.session.accept_recipient(recipient)
                    }
                    (ServerEvent::Data, true) => self.session.accept_message(),
                    (ServerEvent::ScramUser(_), true) => {
                        let nonce = Nonce::from_random([0; Nonce::RANDOM]);
                        self.session.continue_scram(VERIFIER.clone(), &nonce);
                    }
                    _ => self.session.refuse(&replies::no_room()),
                }
            }
        }
    }

    fn answer(&mut self) -> bool {
        *self.answers.next().unwrap_or(&true)
    }

    /// Returns the events and the output, which must consist of complete replies.
    fn end(mut self) -> (Vec<String>, Vec<u8>) {
        self.output.extend(self.session.take_output());
        let (mut parser, mut rest) = (ReplyParser::default(), self.output.as_slice());
        while !rest.is_empty() {
            let reply: Option<Reply> = parser.parse(&mut rest).expect("replies");
            assert!(reply.is_some(), "only complete replies");
        }
        (self.events, self.output)
    }
}

/// Parses the digits at the front and returns the text after them.
fn number(text: &[u8]) -> (u64, &[u8]) {
    let end = text.iter().position(|octet| !octet.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    let number = digits.iter().fold(0, |n: u64, digit| {
        n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    (number, rest)
}
