//! Runs every dialogue in `tests/transcripts/client`: whole, octet by octet and randomly split.
//!
//! A line of a transcript is one of
//!
//! | line | meaning |
//! |---|---|
//! | `# ...` | a comment |
//! | `plan ...` | the steps of the session before its first transaction, at the top: `tls if-offered`, `tls required`, `tls active`, `password USER SECRET`, `token USER SECRET`, `in clear` |
//! | `S ...` | the server sends this and CRLF, or a bare LF if it ends with `\n` |
//! | `S. ...` | the same without an end of line |
//! | `C ...` | the client must have sent this next |
//! | `H` | the handshake is done |
//! | `begin <sender> <recipient>... [8bit] [utf8] [size=N]` | a transaction begins; `RET=` and `ENVID=` ask for the message, `NOTIFY=` and `ORCPT=` for the recipient before them |
//! | `message ...` | a line of the message, after `! content` |
//! | `close` | the connection breaks here |
//! | `quit` | the client ends the session |
//! | `! ...` | the event after the server's last lines |
//! | `is idle`, `is over`, `is unanswered`, `is doubtful` | what the session reports about its state |
//!
//! In the lines of either side `{...}` is the base64 of its content, and `\xNN` is an octet.

#[path = "../octets/mod.rs"]
mod octets;

use std::collections::VecDeque;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use relay_smtp::client::{
    Answer, ClientSession, ContentEncoder, Credentials, Envelope, Event, Lack, Plan, Proof, TlsUse,
    Trouble,
};
use relay_smtp::dsn::DsnRequest;
use relay_smtp::sasl::scram::Nonce;
use relay_smtp::sasl::{Secret, base64};
use relay_smtp::{ForwardPath, Recipient, ReversePath};

use octets::octets;

struct Player {
    session: ClientSession,
    /// Text that must not be shown.
    secret: Option<String>,
    recipients: Vec<String>,
    encoder: Option<ContentEncoder>,
    said: Vec<u8>,
    events: VecDeque<String>,
    sizes: Vec<usize>,
    next_size: usize,
}

impl Player {
    fn new(sizes: &[usize], plan: Plan) -> Self {
        let secret = plan.credentials.as_ref().map(|credentials| {
            let (Proof::Password(secret) | Proof::Token(secret)) = &credentials.proof;
            secret.expose().to_owned()
        });
        Self {
            session: ClientSession::new("relay.test", plan),
            secret,
            recipients: Vec::new(),
            encoder: None,
            said: Vec::new(),
            events: VecDeque::new(),
            sizes: sizes.to_vec(),
            next_size: 0,
        }
    }

    fn play(&mut self, transcript: &str) {
        let mut heard = Vec::new();
        for (number, line) in transcript.lines().enumerate() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if !matches!(word, "S" | "S.") {
                self.hear(&std::mem::take(&mut heard));
            }
            if word != "message" {
                self.end_message();
            }
            let at = format!("line {}: {line}", number + 1);
            match word {
                "#" | "" | "plan" => {}
                "S" => heard.extend(spoken(rest)),
                "S." => heard.extend(octets(rest)),
                "C" => {
                    let expected = octets(rest).escape_ascii().to_string();
                    assert_eq!(self.next_line(), Some(expected), "{at}");
                }
                "H" => self.session.tls_started(),
                "!" => assert_eq!(self.events.pop_front().as_deref(), Some(rest), "{at}"),
                "begin" => self.begin(rest),
                "message" => self.message(rest),
                "close" => self.close(),
                "quit" => self.session.quit(),
                "is" => assert!(self.is(rest), "{at}"),
                _ => panic!("{at}: unknown line"),
            }
        }
        self.hear(&heard);
        self.collect();
        assert!(self.events.is_empty(), "left: {:?}", self.events);
        assert!(self.said.is_empty(), "left: {}", self.said.escape_ascii());
    }

    /// Plays the dialogue in pieces of the given sizes, which are used repeatedly.
    fn hear(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let size = self.sizes[self.next_size % self.sizes.len()].clamp(1, octets.len());
            self.next_size += 1;
            let (mut piece, rest) = octets.split_at(size);
            while let Some(event) = self.session.receive(&mut piece) {
                self.note(event);
            }
            assert!(piece.is_empty(), "None means that all input is consumed");
            self.is_discreet();
            octets = rest;
        }
    }

    fn begin(&mut self, line: &str) {
        let mut words = line.split(' ');
        let path = |word: &str| word.trim_matches(['<', '>']).to_owned();
        let sender: ReversePath = words
            .next()
            .map(path)
            .expect("a sender")
            .parse()
            .expect("a path");
        let words: Vec<&str> = words.collect();
        let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
        self.recipients = words
            .iter()
            .filter(|w| w.starts_with('<'))
            .map(|w| path(w))
            .collect();
        let mut parsed: Vec<Recipient> = Vec::new();
        for word in &words {
            match (word.split_once('='), parsed.last_mut()) {
                _ if word.starts_with('<') => {
                    let path: ForwardPath = path(word).parse().expect("a path");
                    parsed.push(path.into());
                }
                (Some(("NOTIFY", value)), Some(last)) => {
                    last.notify = value.parse().expect(value);
                }
                (Some(("ORCPT", value)), Some(last)) => {
                    last.orcpt = Some(value.parse().expect(value));
                }
                _ => {}
            }
        }
        let dsn = DsnRequest {
            ret: value("RET=").map(|ret| ret.parse().expect(ret)),
            envid: value("ENVID=").map(|envid| envid.parse().expect(envid)),
        };
        let size = value("size=");
        let envelope = Envelope {
            sender: &sender,
            recipients: &parsed.iter().collect::<Vec<_>>(),
            size: size.map_or(100, |n| n.parse().expect("a number")),
            eight_bit: words.contains(&"8bit"),
            utf8: words.contains(&"utf8"),
            dsn: &dsn,
        };
        if let Some(event) = self.session.begin(&envelope) {
            self.note(event);
        }
    }

    fn message(&mut self, line: &str) {
        self.collect();
        let encoder = self.encoder.get_or_insert_default();
        encoder.encode(line.as_bytes(), &mut self.said);
        encoder.encode(b"\r\n", &mut self.said);
    }

    fn end_message(&mut self) {
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(&mut self.said);
            self.session.content_sent();
        }
    }

    fn close(&mut self) {
        self.events
            .push_back(format!("lost at {}", self.session.stage()));
        let answers = self.session.abandon();
        for (recipient, answer) in self.recipients.iter().zip(answers) {
            let text = answer.map_or("open".to_owned(), |a| describe(&a));
            self.events.push_back(format!("{recipient} {text}"));
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Ready => self.events.push_back("ready".to_owned()),
            Event::Content => self.events.push_back("content".to_owned()),
            Event::StartTls => self.events.push_back("starttls".to_owned()),
            Event::Finished(answers) => {
                assert_eq!(answers.len(), self.recipients.len());
                for (recipient, answer) in self.recipients.iter().zip(&answers) {
                    let text = format!("{recipient} {}", describe(answer));
                    self.events.push_back(text);
                }
            }
            Event::Broken(trouble) => {
                let text = match trouble {
                    Trouble::Refused(stage, reply) => format!("refused at {stage}: {reply}"),
                    Trouble::Unexpected(stage, reply) => format!("unexpected at {stage}: {reply}"),
                    Trouble::Garbled(stage, error) => format!("garbled at {stage}: {error}"),
                    Trouble::NoTls => "no TLS".to_owned(),
                    Trouble::TlsRefused(reply) => format!("TLS refused: {reply}"),
                    Trouble::NoMechanism { offered } => format!("no mechanism of {offered:?}"),
                    Trouble::AuthInClear => "AUTH in clear".to_owned(),
                    Trouble::AuthRefused(reply) => format!("AUTH refused: {reply}"),
                    Trouble::Challenge(error) => format!("bad challenge: {error}"),
                };
                self.events.push_back(text);
            }
        }
    }

    fn collect(&mut self) {
        self.said.append(self.session.output());
    }

    fn next_line(&mut self) -> Option<String> {
        self.collect();
        let end = self.said.windows(2).position(|w| w == b"\r\n")?;
        let line: Vec<u8> = self.said.drain(..end + 2).take(end).collect();
        Some(line.escape_ascii().to_string())
    }

    /// Text that a log might show must not contain a secret in any form.
    fn is_discreet(&self) {
        let shown = format!("{:?}", self.session);
        if let Some(secret) = &self.secret {
            let octets = format!("{:?}", secret.as_bytes());
            let octets = octets.trim_matches(['[', ']']);
            let within = base64::encode(secret.as_bytes());
            for text in [secret, octets, within.trim_end_matches('=')] {
                assert!(!shown.contains(text), "{shown}");
            }
        }
    }

    fn is(&self, what: &str) -> bool {
        match what {
            "idle" => self.session.is_idle(),
            "over" => !self.session.is_idle(),
            "unanswered" => self.session.is_unanswered(),
            "doubtful" => self.session.may_have_been_taken(),
            _ => panic!("unknown state: {what}"),
        }
    }
}

fn spoken(text: &str) -> Vec<u8> {
    match text.strip_suffix("\\n") {
        Some(text) => [octets(text).as_slice(), b"\n"].concat(),
        None => [octets(text).as_slice(), b"\r\n"].concat(),
    }
}

/// The meaning of the lines at the top.
fn plan(transcript: &str) -> Plan {
    let mut plan = Plan::CLEAR;
    for line in transcript.lines().filter_map(|l| l.strip_prefix("plan ")) {
        match *line.split(' ').collect::<Vec<_>>() {
            ["tls", "if-offered"] => plan.tls = TlsUse::IfOffered,
            ["tls", "required"] => plan.tls = TlsUse::Required,
            ["tls", "active"] => plan.tls = TlsUse::Active,
            ["password", user, secret] => {
                plan.credentials = Some(credentials(user, secret, Proof::Password));
            }
            ["token", user, secret] => {
                plan.credentials = Some(credentials(user, secret, Proof::Token));
            }
            ["in", "clear"] => {
                let credentials = plan.credentials.as_mut();
                credentials.expect("credentials come first").in_clear = true;
            }
            _ => panic!("unknown plan: {line}"),
        }
    }
    plan
}

fn credentials(user: &str, secret: &str, proof: fn(Secret) -> Proof) -> Credentials {
    Credentials {
        user: user.parse().expect("a name"),
        proof: proof(Secret::new(secret).expect("plain text")),
        in_clear: false,
        nonce: Nonce::from_random([0; Nonce::RANDOM]),
    }
}

fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Taken(reply) => format!("taken: {reply}"),
        Answer::Refused(stage, reply) => format!("refused at {stage}: {reply}"),
        Answer::Unsupported(Lack::Utf8) => "needs SMTPUTF8".to_owned(),
        Answer::Unsupported(Lack::Room { limit }) => format!("is larger than {limit}"),
    }
}

fn transcripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts/client");
    let files = std::fs::read_dir(&folder).expect("the transcripts' folder");
    let mut all: Vec<_> = files
        .map(|file| file.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "smtp"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a transcript");
            (path.display().to_string(), text)
        })
        .collect();
    all.sort();
    assert!(all.len() > 15, "only {} transcripts found", all.len());
    all
}

fn play_all(sizes: &[usize]) {
    for (name, text) in transcripts() {
        eprintln!("{name} in pieces of {sizes:?}");
        Player::new(sizes, plan(&text)).play(&text);
    }
}

#[test]
fn transcripts_run_whole() {
    play_all(&[usize::MAX]);
}

#[test]
fn transcripts_run_octet_by_octet() {
    play_all(&[1]);
}

#[test]
fn transcripts_run_randomly_split() {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(100)
    };
    TestRunner::new(config)
        .run(&proptest::collection::vec(1usize..40, 1..20), |sizes| {
            play_all(&sizes);
            Ok(())
        })
        .expect("the events do not depend on the pieces");
}
