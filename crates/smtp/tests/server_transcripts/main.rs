//! Dialogues of `tests/transcripts/server/*.smtp`, each run whole, byte by byte and randomly split.
//!
//! A line is one of these; blank lines and `#` comments are skipped:
//!
//! | line | meaning |
//! |---|---|
//! | `limit NAME VALUE` | a limit of the session that is not the default, at the top |
//! | `offer starttls`, `offer auth` | there is a certificate, there are users; at the top |
//! | `complete D`, `complete-for-users D` | bare addresses are completed with D; at the top |
//! | `tls` | the session begins under TLS; at the top |
//! | `C: text` | the client sends the text and CR LF; `\r \n \t \0 \\ \xNN` are octets, `{...}` is the base64 of its content |
//! | `C. text` | the same without CR LF |
//! | `C* N text` | the same N times, each with CR LF |
//! | `C+ N text` | the same N times without CR LF |
//! | `H:` | the handshake is done, and the client goes on under TLS |
//! | `T: N` | N seconds pass |
//! | `S: text` | the server has sent the text and CR LF |
//! | `? EVENT -> answer` | the event of the session and, if it is a question, the answer; in order |
//! | `? SCRAM user -> password P` | the answer is the verifier of that password |
//! | `! reply` | from here the queue refuses the message with this reply |
//!
//! The DSN parameters of a recipient follow it in brackets: `<u@d.test>[NOTIFY=NEVER]`.
//!
//! The lines of the client between two answers are sent together. After them the output and the
//! events must be exactly those of the following `S:` and `?` lines.

#[path = "../octets/mod.rs"]
mod octets;
mod words;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use relay_smtp::body::BareNewline;
use relay_smtp::sasl::Secret;
use relay_smtp::sasl::scram::{Nonce, ScramVerifier};
use relay_smtp::server::{
    BareAddress, Channel, ServerEvent, ServerSession, SessionLimits, Settings,
};
use relay_smtp::{ForwardPath, Recipient, Reply};

use octets::octets;
use words::{describe, reply};

const RANDOM_SPLITS: u64 = 30;

#[test]
fn transcripts_run_the_same_however_the_input_is_split() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts/server");
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .expect("the transcripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "smtp"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "the transcripts are found");
    for file in files {
        let text = fs::read_to_string(&file).expect("a transcript in UTF-8");
        let transcript = Transcript::parse(&text, &file.display().to_string());
        transcript.run(&mut Split::Whole);
        transcript.run(&mut Split::Bytes);
        for seed in 1..=RANDOM_SPLITS {
            transcript.run(&mut Split::Random(seed));
        }
    }
}

/// How the input of a step is split.
enum Split {
    Whole,
    Bytes,
    Random(u64),
}

impl Split {
    fn next(&mut self, left: usize) -> usize {
        match self {
            Split::Whole => left,
            Split::Bytes => 1,
            Split::Random(state) => {
                // A linear congruential generator: the same splits in every run.
                *state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let most = left.min(200);
                1 + usize::try_from(*state >> 33).expect("31 bits") % most
            }
        }
    }
}

struct Transcript {
    name: String,
    settings: Settings,
    channel: Channel,
    steps: Vec<Step>,
}

/// The input that the client sends together, and the expected results.
#[derive(Default)]
struct Step {
    line: usize,
    input: Vec<u8>,
    pause: u64,
    handshake: bool,
    queue_fails: Option<Reply>,
    output: String,
    events: Vec<(String, String)>,
}

impl Step {
    fn has_answer(&self) -> bool {
        !self.output.is_empty() || !self.events.is_empty()
    }
}

impl Transcript {
    fn parse(text: &str, name: &str) -> Self {
        let mut transcript = Self {
            name: name.to_owned(),
            settings: Settings {
                hostname: "relay.test".into(),
                limits: SessionLimits::default(),
                starttls: false,
                auth: false,
                bare_address: BareAddress::Refuse,
            },
            channel: Channel::Clear,
            steps: vec![Step::default()],
        };
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if transcript.set(line) {
                continue;
            }
            let last = transcript.steps.last().expect("one at least");
            let begins_a_go = line.starts_with(['T', 'H', '!']) || last.has_answer();
            if line.starts_with(['C', 'T', 'H', '!']) && begins_a_go {
                transcript.steps.push(Step {
                    line: number,
                    ..Step::default()
                });
            }
            let step = transcript.steps.last_mut().expect("one at least");
            step.read(line, &format!("{name}:{number}"));
        }
        transcript
    }

    /// Whether the line must be at the top.
    fn set(&mut self, line: &str) -> bool {
        match line.split_once(' ') {
            Some(("limit", limit)) => set_limit(&mut self.settings.limits, limit),
            Some(("offer", "starttls")) => self.settings.starttls = true,
            Some(("offer", "auth")) => self.settings.auth = true,
            Some(("complete", domain)) => {
                self.settings.bare_address = BareAddress::Complete(domain.into());
            }
            Some(("complete-for-users", domain)) => {
                self.settings.bare_address = BareAddress::CompleteForUsers(domain.into());
            }
            None if line == "tls" => self.channel = Channel::Tls,
            _ => return false,
        }
        true
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "time passes only as the transcript says"
    )]
    fn run(&self, split: &mut Split) {
        let start = Instant::now();
        let mut run = Run {
            session: ServerSession::new(self.settings.clone(), self.channel, start),
            now: start,
            message: Vec::new(),
            passed_on: Vec::new(),
            events: Vec::new(),
        };
        for step in &self.steps {
            let place = format!("{}:{}", self.name, step.line);
            run.events.clear();
            run.now += Duration::from_secs(step.pause);
            if step.pause > 0 && run.now >= run.session.deadline() {
                run.session.handle_timeout();
            }
            if step.handshake {
                run.session.tls_started(run.now);
            }
            let mut rest = step.input.as_slice();
            let mut is_open = run.feed(&[], step, &place);
            while is_open && !rest.is_empty() {
                let (piece, later) = rest.split_at(split.next(rest.len()));
                is_open = run.feed(piece, step, &place);
                rest = later;
            }
            let output = String::from_utf8(run.session.take_output()).expect("ASCII");
            assert_eq!(output, step.output, "{place}: output");
            let expected: Vec<_> = step.events.iter().map(|(event, _)| event.clone()).collect();
            assert_eq!(run.events, expected, "{place}: events");
        }
    }
}

impl Step {
    fn read(&mut self, line: &str, place: &str) {
        let (kind, rest) = line.split_at(2);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match kind {
            "C:" => self
                .input
                .extend([octets(rest).as_slice(), b"\r\n"].concat()),
            "C." => self.input.extend(octets(rest)),
            "C*" => {
                let (times, text) = rest.split_once(' ').expect("C* N text");
                let text = [octets(text).as_slice(), b"\r\n"].concat();
                self.input
                    .extend(text.repeat(times.parse().expect("a number")));
            }
            "C+" => {
                let (times, text) = rest.split_once(' ').expect("C+ N text");
                let times = times.parse().expect("a number");
                self.input.extend(octets(text).repeat(times));
            }
            "H:" => self.handshake = true,
            "T:" => self.pause = rest.parse().expect("seconds"),
            "S:" => {
                let text = String::from_utf8(octets(rest)).expect("UTF-8");
                writeln!(self.output, "{text}\r").expect("a string");
            }
            "? " => {
                let (event, answer) = rest.split_once(" -> ").unwrap_or((rest, ""));
                self.events.push((event.to_owned(), answer.to_owned()));
            }
            "! " => self.queue_fails = Some(reply(rest)),
            _ => panic!("{place}: unknown line {line:?}"),
        }
    }
}

/// A session that plays a transcript.
struct Run {
    session: ServerSession,
    now: Instant,
    message: Vec<u8>,
    passed_on: Vec<u8>,
    events: Vec<String>,
}

impl Run {
    /// Whether the session still accepts input.
    fn feed(&mut self, mut piece: &[u8], step: &Step, place: &str) -> bool {
        loop {
            let taken = self.session.handle(piece, &mut self.message, self.now);
            piece = &piece[taken.consumed..];
            let Some(event) = taken.event else {
                assert!(piece.is_empty(), "{place}: all input is consumed");
                self.is_discreet(place);
                return true;
            };
            match &event {
                ServerEvent::Content => {
                    self.passed_on.append(&mut self.message);
                    if let Some(reply) = &step.queue_fails {
                        self.session.refuse(reply);
                        self.passed_on.clear();
                    }
                    continue;
                }
                ServerEvent::MessageEnd(_) => self.passed_on.append(&mut self.message),
                _ => {}
            }
            let text = describe(&event, &self.passed_on);
            let expected = step.events.get(self.events.len());
            let is_close = event == ServerEvent::Close;
            match expected {
                Some((expected, answer)) if *expected == text => self.answer(event, answer),
                _ => panic!("{place}: got {text:?} instead of {expected:?}"),
            }
            self.events.push(text);
            if is_close {
                return false;
            }
        }
    }

    /// Text that a log might show must not contain anything of an AUTH exchange.
    fn is_discreet(&self, place: &str) {
        let shown = format!("{:?}", self.session);
        for secret in ["s3cret", "czNjcmV0", "AHRpbQ"] {
            let octets = format!("{:?}", secret.as_bytes());
            let octets = octets.trim_matches(['[', ']']);
            let is_there = shown.contains(secret) || shown.contains(octets);
            assert!(!is_there, "{place}: {shown}");
        }
    }

    fn answer(&mut self, event: ServerEvent, answer: &str) {
        match (event, answer) {
            (ServerEvent::Mail(request), "yes") => self.session.accept_sender(request),
            (ServerEvent::Rcpt(recipient), "yes") => self.session.accept_recipient(recipient),
            (ServerEvent::Rcpt(recipient), other) if other.starts_with('<') => {
                let path: ForwardPath = other.trim_matches(['<', '>']).parse().expect(other);
                self.session
                    .accept_recipient(Recipient { path, ..recipient });
            }
            (ServerEvent::Data, "yes") => self.session.accept_message(),
            (ServerEvent::MessageEnd(_), verdict) => {
                self.passed_on.clear();
                self.session.finish_message(&reply(verdict), self.now);
            }
            (ServerEvent::Authenticate(login), "yes") => self.session.accept_user(login.user),
            (ServerEvent::ScramDone { user, .. }, "yes") => self.session.accept_user(user),
            (ServerEvent::ScramUser(_), answer) if answer.starts_with("password ") => {
                let password = Secret::new(&answer["password ".len()..]).expect(answer);
                let verifier = ScramVerifier::from_password(
                    &password,
                    b"salt of sixteen!".to_vec(),
                    ScramVerifier::MIN_ITERATIONS,
                );
                self.session
                    .continue_scram(verifier, &Nonce::from_random([0; Nonce::RANDOM]));
            }
            (ServerEvent::Refused(_), "") => self.passed_on.clear(),
            (ServerEvent::StartTls | ServerEvent::Close, "") | (_, "nothing") => {}
            (_, no) => self.session.refuse(&reply(no)),
        }
    }
}

fn set_limit(limits: &mut SessionLimits, text: &str) {
    let (name, value) = text.split_once(' ').expect("limit NAME VALUE");
    if (name, value) == ("bare_newline", "normalize") {
        limits.bare_newline = BareNewline::Normalize;
        return;
    }
    let number: u32 = value.parse().expect("a number");
    match name {
        "message_size" => limits.message_size = number.into(),
        "header_size" => limits.header_size = number as usize,
        "recipients" => limits.recipients = number as usize,
        "hops" => limits.hops = number,
        "errors" => limits.errors = number,
        _ => panic!("unknown limit: {name}"),
    }
}
