//! Any messages of an exchange are parsed by their grammar or refused, and a side that does not know
//! the password proves nothing.
//!
//! Each line is a message. The first four are also used as those of SCRAM, in order.

#![no_main]

mod octets;

use libfuzzer_sys::fuzz_target;
use relay_smtp::command::{self, Command};
use relay_smtp::sasl::scram::{Nonce, ScramVerifier, client, server};
use relay_smtp::sasl::{Response, Secret, UserName, base64, login, plain, prepare};

use octets::octets;

fuzz_target!(|input: &[u8]| {
    let lines: Vec<&[u8]> = input.split(|&octet| octet == b'\n').take(8).collect();
    let messages: Vec<Vec<u8>> = lines.iter().map(|line| octets(line)).collect();
    for line in &lines {
        read_line(line);
    }
    for message in &messages {
        read_message(message);
    }
    if let [first, challenge, last, end, ..] = &messages[..] {
        ask_server(first, last);
        ask_client(challenge, end);
    }
});

/// Handles a line unchanged, in base64 or not.
fn read_line(line: &[u8]) {
    if let Ok(octets) = base64::decode(line) {
        assert_eq!(
            base64::encode(&octets).as_bytes(),
            line,
            "base64 has one form"
        );
    }
    let response = Response::new(line);
    let _ = (response.decode(), response.decode_initial());
    if let Ok(Command::Auth { initial, .. }) = command::parse(&[b"AUTH ", line].concat()) {
        assert!(initial.is_none_or(|i| !i.expose().is_empty()));
    }
}

/// Parses a message as each mechanism does.
fn read_message(message: &[u8]) {
    assert_eq!(
        &*base64::decode(base64::encode(message).as_bytes()).expect("base64"),
        message
    );
    if let Ok((user, secret)) = plain::parse(message) {
        let written = plain::message(&user, &secret);
        assert_eq!(plain::parse(&written), Ok((user, secret)));
    }
    if let Ok(user) = login::user_name(message) {
        assert!(!user.as_str().contains(char::is_control));
    }
    if let Ok(secret) = login::password(message) {
        assert!(!secret.expose().contains(char::is_control));
        let prepared = prepare(secret.expose());
        assert_eq!(prepare(&prepared), prepared);
        assert!(
            prepared.len() <= secret.expose().len() * 11,
            "the prepared text is too long"
        );
    }
}

/// Plays a client that does not know the password.
fn ask_server(first: &[u8], last: &[u8]) {
    let Ok(first) = server::ClientFirst::parse(first) else {
        return;
    };
    assert!(!first.user().as_str().contains(char::is_control));
    let verifier = ScramVerifier {
        iterations: ScramVerifier::MIN_ITERATIONS,
        salt: b"salt of sixteen!".to_vec(),
        stored_key: [2; 32],
        server_key: [3; 32],
    };
    let user = first.user().clone();
    let (challenge, text) = first.challenge(verifier, &Nonce::from_random([0; Nonce::RANDOM]));
    assert!(text.len() <= 1024 && text.bytes().all(|octet| octet.is_ascii_graphic()));
    if let Ok((proven, proof)) = challenge.check(last) {
        assert_eq!(
            (proven, proof),
            (user, None),
            "a proof without the password"
        );
    }
}

/// Plays a server that does not know the password. High iteration counts are left out, because they
/// take too long.
fn ask_client(challenge: &[u8], end: &[u8]) {
    if challenge
        .windows(5)
        .any(|w| w.iter().all(u8::is_ascii_digit))
    {
        return;
    }
    let user: UserName = "tim".parse().expect("a name");
    let password = Secret::new("in no transcript").expect("plain text");
    let first = client::ClientFirst::new(&user, Nonce::from_random([0; Nonce::RANDOM]));
    if let Ok((awaited, last)) = first.prove(challenge, &password) {
        assert!(last.bytes().all(|octet| octet.is_ascii_graphic()));
        assert!(awaited.check(end).is_err(), "a proof without the password");
    }
}
