//! The output and events are the same however the input of a client is split, in bounded memory.

use std::time::Instant;

use proptest::prelude::*;
use relay_smtp::sasl::scram::{Nonce, ScramVerifier};
use relay_smtp::server::{
    BareAddress, Channel, ServerEvent, ServerSession, SessionLimits, Settings, replies,
};

const LIMITS: SessionLimits = SessionLimits {
    message_size: 400,
    header_size: 120,
    line_length: 100,
    recipients: 3,
    hops: 2,
    errors: 5,
    command_timeout: std::time::Duration::from_mins(5),
    bare_newline: relay_smtp::body::BareNewline::Refuse,
};

#[expect(clippy::disallowed_methods, reason = "no time passes in these tests")]
fn session(channel: Channel) -> (ServerSession, Instant) {
    let settings = Settings {
        hostname: "relay.test".into(),
        limits: LIMITS,
        starttls: true,
        auth: true,
        bare_address: BareAddress::CompleteForUsers("relay.test".into()),
    };
    let now = Instant::now();
    (ServerSession::new(settings, channel, now), now)
}

fn verifier() -> ScramVerifier {
    ScramVerifier {
        iterations: ScramVerifier::MIN_ITERATIONS,
        salt: vec![1; 16],
        stored_key: [2; 32],
        server_key: [3; 32],
    }
}

/// Plays all of `input` in pieces. Returns the output and the events, each message with its
/// content. Events that depend on the pieces are left out.
fn play(
    channel: Channel,
    input: &[u8],
    mut piece: impl FnMut() -> usize,
) -> (Vec<String>, Vec<u8>) {
    let (mut session, time) = session(channel);
    let (mut message, mut content) = (Vec::new(), Vec::new());
    let (mut events, mut output) = (Vec::new(), Vec::new());
    let mut rest = input;
    loop {
        let (mut now, later) = rest.split_at(piece().min(rest.len()));
        rest = later;
        loop {
            let step = session.handle(now, &mut message, time);
            now = &now[step.consumed..];
            assert!(message.len() <= LIMITS.header_size + input.len());
            let Some(event) = step.event else { break };
            match event {
                ServerEvent::Mail(request) => {
                    events.push(format!("{request:?}"));
                    session.accept_sender(request);
                }
                ServerEvent::Rcpt(recipient) if recipient.path.as_str().starts_with('x') => {
                    session.refuse(&replies::no_gateway());
                }
                ServerEvent::Rcpt(recipient) => session.accept_recipient(recipient),
                ServerEvent::Data => session.accept_message(),
                ServerEvent::Content => content.append(&mut message),
                ServerEvent::MessageEnd(transaction) => {
                    content.append(&mut message);
                    let whole = std::mem::take(&mut content);
                    assert!(whole.len() as u64 <= LIMITS.message_size);
                    events.push(format!("{transaction:?} {}", whole.escape_ascii()));
                    session.finish_message(&replies::queued(&"ID"), time);
                }
                ServerEvent::Refused(refusal) => {
                    content.clear();
                    events.push(format!("{refusal:?}"));
                }
                // The input after this counts as sent after the handshake, whichever piece it is
                // in.
                ServerEvent::StartTls => {
                    output.extend(session.take_output());
                    session.tls_started(time);
                    events.push(format!("{event:?}"));
                }
                ServerEvent::Authenticate(login) if login.user.as_str() == "x" => {
                    session.refuse(&replies::authentication_failed());
                }
                ServerEvent::Authenticate(login) => {
                    events.push(format!("{login:?} {}", login.secret.expose()));
                    session.accept_user(login.user);
                }
                ServerEvent::ScramUser(user) => {
                    events.push(format!("{user}"));
                    session.continue_scram(verifier(), &Nonce::from_random([0; Nonce::RANDOM]));
                }
                // The session itself refuses a wrong proof.
                ServerEvent::ScramDone { ref user, .. } => {
                    let user = user.clone();
                    events.push(format!("{event:?}"));
                    session.accept_user(user);
                }
                ServerEvent::Flush => output.extend(session.take_output()),
                ServerEvent::Close => {
                    output.extend(session.take_output());
                    return (events, output);
                }
            }
        }
        assert!(
            now.is_empty(),
            "the session asks for more only after it has consumed all input"
        );
        output.extend(session.take_output());
        if rest.is_empty() {
            return (events, output);
        }
    }
}

/// Input that clients send, valid and invalid.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        b"EHLO c.test\r\n",
        b"HELO c.test\r\n",
        b"MAIL FROM:<a@b.test>\r\n",
        b"MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
        b"RCPT TO:<u@d.test>\r\n",
        b"MAIL FROM:<a@b.test> RET=HDRS ENVID=QQ+2B1\r\n",
        b"RCPT TO:<u@d.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@d.test\r\n",
        b"RCPT TO:<u@d.test> NOTIFY=NEVER,DELAY\r\n",
        b"RCPT TO:<x@d.test>\r\n",
        b"DATA\r\n",
        b"Subject: t\r\n",
        b"Received: a\r\n",
        b"\r\n",
        b"..dots\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"\n.\n",
        b"\n",
        b"\r",
        b"\0",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"STARTTLS\r\n",
        b"AUTH PLAIN AHRpbQBzM2NyZXQ=\r\n",
        b"AUTH PLAIN AHgAeA==\r\n",
        b"AUTH PLAIN\r\n",
        b"AUTH LOGIN\r\n",
        b"AUTH LOGIN =\r\n",
        b"dGlt\r\n",
        b"AHRpbQBzM2NyZXQ=\r\n",
        b"AUTH SCRAM-SHA-256 biwsbj10aW0scj1hYmM=\r\n",
        b"Yz1iaXdzLHI9YWJjQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBLHA9QUFBQQ==\r\n",
        b"*\r\n",
    ];
    prop_oneof![
        20 => prop::sample::select(known).prop_map(<[u8]>::to_vec),
        2 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (1..700usize).prop_map(|length| vec![b'x'; length]),
        1 => (12000..12600usize).prop_map(|length| [b"AUTH PLAIN ".as_slice(), &vec![b'A'; length]].concat()),
        4 => Just(b"EHLO c.test\r\nAUTH LOGIN\r\n".to_vec()),
        // These cases begin where most errors can occur.
        4 => Just(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@d.test>\r\nDATA\r\n".to_vec()),
    ]
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_how_the_input_is_split(
        fragments in prop::collection::vec(fragment(), 0..40),
        pieces in prop::collection::vec(1..60usize, 1..20),
        channel in prop::sample::select(vec![Channel::Clear, Channel::Tls]),
    ) {
        let input = fragments.concat();
        let whole = play(channel, &input, || input.len());
        prop_assert_eq!(&play(channel, &input, || 1), &whole);
        let mut pieces = pieces.iter().cycle();
        prop_assert_eq!(&play(channel, &input, || *pieces.next().expect("endless")), &whole);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "no time passes in this test")]
fn a_timeout_beyond_the_clock_does_not_panic() {
    let settings = Settings {
        hostname: "relay.test".into(),
        limits: SessionLimits {
            command_timeout: std::time::Duration::MAX,
            ..LIMITS
        },
        starttls: false,
        auth: false,
        bare_address: BareAddress::Complete("relay.test".into()),
    };
    let now = Instant::now();
    let mut session = ServerSession::new(settings, Channel::Clear, now);
    session.handle(b"NOOP\r\n", &mut Vec::new(), now);
    assert!(session.deadline() > now);
}

#[test]
fn the_replies_that_gather_are_bounded() {
    let (mut session, time) = session(Channel::Clear);
    let flood = b"HELP\r\n".repeat(100_000);
    let mut rest = flood.as_slice();
    let mut flushes = 0;
    while !rest.is_empty() {
        let step = session.handle(rest, &mut Vec::new(), time);
        rest = &rest[step.consumed..];
        let gathered = session.take_output().len();
        assert!(gathered < 20_000, "{gathered} octets");
        flushes += usize::from(step.event == Some(ServerEvent::Flush));
    }
    assert!(flushes > 100);
}
