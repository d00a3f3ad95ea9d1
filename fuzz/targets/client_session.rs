//! With any server, any envelopes and a break anywhere, each recipient gets at most one answer,
//! however the server's octets are split, and none counts as taken before the message was sent.
//!
//! The input is a transcript as in `tests/transcripts/client`, read leniently: `S` and `S.` are sent
//! by the server, `begin`, `message`, `quit` and `close` happen where they are possible, `H` makes the
//! handshake, and `plan` sets how the session begins. Other lines are ignored.

#![no_main]

mod octets;

use libfuzzer_sys::fuzz_target;
use relay_smtp::client::{
    Answer, ClientSession, ContentEncoder, Credentials, Envelope, Event, Plan, Proof, TlsUse,
};
use relay_smtp::dsn::DsnRequest;
use relay_smtp::sasl::Secret;
use relay_smtp::sasl::scram::Nonce;
use relay_smtp::{ForwardPath, Recipient, ReversePath};

use octets::octets;

fuzz_target!(|transcript: &[u8]| {
    let whole = play(transcript, |left| left);
    assert_eq!(play(transcript, |_| 1), whole);
    let mut sizes = transcript.iter().cycle().map(|&octet| usize::from(octet));
    assert_eq!(play(transcript, |_| sizes.next().unwrap_or(1)), whole);
});

/// All events in order, and all octets that the client sent.
type Outcome = (Vec<String>, Vec<u8>);

fn play(transcript: &[u8], mut piece: impl FnMut(usize) -> usize) -> Outcome {
    let mut player = Player::new(plan(transcript));
    let mut heard = Vec::new();
    for line in transcript.split(|&octet| octet == b'\n') {
        if let Some(words) = line.strip_prefix(b"S ") {
            let (words, end): (_, &[u8]) = match words.strip_suffix(b"\\n") {
                Some(words) => (words, b"\n"),
                None => (words, b"\r\n"),
            };
            heard.extend(octets(words));
            heard.extend_from_slice(end);
            continue;
        }
        if let Some(words) = line.strip_prefix(b"S. ") {
            heard.extend(octets(words));
            continue;
        }
        player.hear(&std::mem::take(&mut heard), &mut piece);
        player.act(line);
    }
    player.hear(&heard, &mut piece);
    player.close();
    player.collect();
    (player.events, player.said)
}

/// The steps before the first transaction, as far as the lines are valid.
fn plan(transcript: &[u8]) -> Plan {
    let mut plan = Plan::CLEAR;
    for line in transcript.split(|&octet| octet == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        match *line.split(' ').collect::<Vec<_>>() {
            ["plan", "tls", "if-offered"] => plan.tls = TlsUse::IfOffered,
            ["plan", "tls", "required"] => plan.tls = TlsUse::Required,
            ["plan", "tls", "active"] => plan.tls = TlsUse::Active,
            ["plan", "password", user, secret] => {
                plan.credentials = credentials(user, secret, Proof::Password);
            }
            ["plan", "token", user, secret] => {
                plan.credentials = credentials(user, secret, Proof::Token);
            }
            ["plan", "in", "clear"] => {
                plan.credentials.iter_mut().for_each(|c| c.in_clear = true);
            }
            _ => {}
        }
    }
    plan
}

fn credentials(user: &str, secret: &str, proof: fn(Secret) -> Proof) -> Option<Credentials> {
    Some(Credentials {
        user: user.parse().ok()?,
        proof: proof(Secret::new(secret).ok()?),
        in_clear: false,
        nonce: Nonce::from_random([0; Nonce::RANDOM]),
    })
}

struct Player {
    session: ClientSession,
    /// Whether a login may be sent now.
    may_log_in: bool,
    /// Whether a handshake is due. Until it is done, nothing may be sent.
    in_handshake: bool,
    recipients: usize,
    /// The message, while the peer waits for it.
    content: Option<ContentEncoder>,
    /// Whether the whole message of this transaction has been sent.
    is_sent: bool,
    events: Vec<String>,
    said: Vec<u8>,
}

impl Player {
    fn new(plan: Plan) -> Self {
        let in_clear = plan.credentials.as_ref().is_some_and(|c| c.in_clear);
        Self {
            may_log_in: plan.tls == TlsUse::Active || in_clear,
            in_handshake: false,
            session: ClientSession::new("relay.test", plan),
            recipients: 0,
            content: None,
            is_sent: false,
            events: Vec::new(),
            said: Vec::new(),
        }
    }

    fn act(&mut self, line: &[u8]) {
        if let Some(text) = line.strip_prefix(b"message ") {
            if let Some(content) = &mut self.content {
                content.encode(text, &mut self.said);
                content.encode(b"\r\n", &mut self.said);
            }
            return;
        }
        if let Some(content) = self.content.take() {
            content.finish(&mut self.said);
            self.is_sent = true;
            self.session.content_sent();
        }
        if let Some(words) = line.strip_prefix(b"begin ") {
            self.begin(words);
        } else if line == b"H" {
            self.collect();
            self.may_log_in |= self.in_handshake;
            self.in_handshake = false;
            self.session.tls_started();
        } else if line == b"quit" {
            self.session.quit();
        } else if line == b"close" {
            self.close();
        }
    }

    fn hear(&mut self, mut octets: &[u8], piece: &mut impl FnMut(usize) -> usize) {
        while !octets.is_empty() {
            let (mut now, later) = octets.split_at(piece(octets.len()).clamp(1, octets.len()));
            while let Some(event) = self.session.receive(&mut now) {
                self.note(event);
            }
            assert!(now.is_empty(), "None means that all input is consumed");
            octets = later;
        }
    }

    fn begin(&mut self, words: &[u8]) {
        let Ok(words) = std::str::from_utf8(words) else {
            return;
        };
        let mut words = words.split(' ');
        let Some(Ok(sender)) = words.next().map(|w| w.trim_matches(['<', '>']).parse()) else {
            return;
        };
        let sender: ReversePath = sender;
        let (paths, flags): (Vec<&str>, Vec<&str>) = words.partition(|w| w.starts_with('<'));
        let value = |name: &str| flags.iter().find_map(|flag| flag.strip_prefix(name));
        let parameters = (value("NOTIFY="), value("ORCPT="));
        let paths = paths.iter().map(|p| p.trim_matches(['<', '>']).parse());
        let recipients: Vec<Recipient> = paths
            .flatten()
            .map(|path: ForwardPath| Recipient {
                path,
                notify: parameters
                    .0
                    .and_then(|n| n.parse().ok())
                    .unwrap_or_default(),
                orcpt: parameters.1.and_then(|o| o.parse().ok()),
            })
            .collect();
        let dsn = DsnRequest {
            ret: value("RET=").and_then(|ret| ret.parse().ok()),
            envid: value("ENVID=").and_then(|id| id.parse().ok()),
        };
        if !self.session.is_idle() || recipients.is_empty() {
            return;
        }
        self.collect();
        self.recipients = recipients.len();
        self.is_sent = false;
        let size = value("size=");
        let event = self.session.begin(&Envelope {
            sender: &sender,
            recipients: &recipients.iter().collect::<Vec<_>>(),
            size: size.and_then(|n| n.parse().ok()).unwrap_or(100),
            eight_bit: flags.contains(&"8bit"),
            utf8: flags.contains(&"utf8"),
            dsn: &dsn,
        });
        if let Some(event) = event {
            self.note(event);
        }
    }

    fn close(&mut self) {
        let doubtful = self.session.may_have_been_taken();
        let answers = self.session.abandon();
        assert!(answers.is_empty() || answers.len() == self.recipients);
        assert!(
            !answers
                .iter()
                .flatten()
                .any(|a| matches!(a, Answer::Taken(_)))
        );
        assert!(!doubtful || self.is_sent);
        assert!(!self.session.is_idle());
        self.content = None;
        self.events.push(format!("close {answers:?}"));
    }

    fn note(&mut self, event: Event) {
        match &event {
            Event::Ready => assert!(self.session.is_idle()),
            Event::Content => self.content = Some(ContentEncoder::default()),
            Event::Finished(answers) => {
                assert_eq!(answers.len(), self.recipients);
                let taken = answers.iter().any(|a| matches!(a, Answer::Taken(_)));
                assert!(!taken || self.is_sent, "taken before it was sent");
                self.content = None;
            }
            Event::StartTls => {
                self.collect();
                self.in_handshake = true;
            }
            Event::Broken(_) => {
                assert!(!self.session.is_idle());
                self.content = None;
            }
        }
        self.events.push(format!("{event:?}"));
    }

    /// Takes the output, which must consist of complete lines that end with CR LF.
    fn collect(&mut self) {
        let output = std::mem::take(self.session.output());
        assert!(output.is_empty() || output.ends_with(b"\r\n"));
        assert!(
            output.is_empty() || !self.in_handshake,
            "no output during the handshake"
        );
        let mut lines = output.split(|&octet| octet == b'\n');
        assert!(self.may_log_in || !lines.any(|line| line.starts_with(b"AUTH ")));
        let text = String::from_utf8(output).expect("commands are UTF-8");
        assert!(!text.replace("\r\n", "").contains(char::is_control));
        self.said.extend(text.into_bytes());
    }
}
