//! Each side of a mechanism understands the other, and messages of anyone else prove nothing.

use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::prelude::*;
use relay_smtp::sasl::scram::{Nonce, ScramVerifier, client, server};
use relay_smtp::sasl::{ResponseError, Secret, UserName, base64, login, plain, prepare};

fn user() -> impl Strategy<Value = UserName> {
    "[ -~é漢]{1,60}|[,=]{1,20}".prop_map(|name| name.parse().expect("a name"))
}

fn secret() -> impl Strategy<Value = Secret> {
    "\\PC{0,40}|[,=]{0,9}".prop_map(|text| Secret::new(text).expect("plain text"))
}

fn nonce() -> impl Strategy<Value = Nonce> {
    any::<[u8; Nonce::RANDOM]>().prop_map(Nonce::from_random)
}

fn verifier(password: &Secret, salt: &[u8], iterations: u32) -> ScramVerifier {
    let iterations = NonZeroU32::new(iterations).expect("not zero");
    ScramVerifier::from_password(password, salt.to_vec(), iterations)
}

/// The message with one octet changed.
fn changed(message: &str, at: prop::sample::Index, to: u8) -> Vec<u8> {
    let mut octets = message.as_bytes().to_vec();
    let at = at.index(octets.len());
    octets[at] = if octets[at] == to { to ^ 1 } else { to };
    octets
}

proptest! {
    #[test]
    fn encoded_octets_decode_to_the_same_octets(octets in vec(any::<u8>(), 0..200)) {
        let text = base64::encode(&octets);
        prop_assert_eq!(text.len(), octets.len().div_ceil(3) * 4);
        prop_assert_eq!(&**base64::decode(text.as_bytes()).expect("base64"), &octets);
    }

    #[test]
    fn octets_have_only_one_form_in_base64(text in "[AZaz09+/]{0,12}={0,2}") {
        if let Ok(octets) = base64::decode(text.as_bytes()) {
            prop_assert_eq!(&**base64::encode(&octets), text);
        }
    }

    #[test]
    fn a_plain_message_parses_to_the_values_it_was_made_from(user in user(), secret in secret()) {
        let message = plain::message(&user, &secret);
        prop_assert_eq!(plain::parse(&message), Ok((user, secret)));
    }

    #[test]
    fn login_responses_parse_to_the_values_they_were_made_from(user in user(), secret in secret()) {
        prop_assert_eq!(login::user_name(user.as_str().as_bytes()), Ok(user));
        prop_assert_eq!(login::password(secret.expose().as_bytes()), Ok(secret));
    }

    #[test]
    fn any_octets_are_parsed_without_a_panic(octets in vec(any::<u8>(), 0..80)) {
        let _ = (plain::parse(&octets), login::user_name(&octets), login::password(&octets));
        let _ = (base64::decode(&octets), server::ClientFirst::parse(&octets));
    }

    #[test]
    fn preparing_a_prepared_password_changes_nothing(text in "\\PC{0,40}") {
        let once = prepare(&text);
        prop_assert_eq!(prepare(&once), once);
    }
}

proptest! {
    // Each case derives keys, which takes some milliseconds.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_client_with_the_password_and_its_server_prove_it_to_each_other(
        user in user(),
        secret in secret(),
        nonces in (nonce(), nonce()),
        salt in vec(any::<u8>(), 1..40),
        iterations in 4096u32..4200,
    ) {
        let first = client::ClientFirst::new(&user, nonces.0);
        let heard = server::ClientFirst::parse(first.message().as_bytes()).expect("a message");
        prop_assert_eq!(heard.user(), &user);
        let (challenge, text) = heard.challenge(verifier(&secret, &salt, iterations), &nonces.1);
        let (awaited, last) = first.prove(text.as_bytes(), &secret).expect("a challenge");
        let (proven, proof) = challenge.check(last.as_bytes()).expect("a message");
        prop_assert_eq!(proven, user);
        let proof = proof.expect("a proof");
        prop_assert_eq!(awaited.check(proof.message().as_bytes()), Ok(()));
    }

    #[test]
    fn a_wrong_password_proves_nothing_to_either_side(
        user in user(),
        (secret, other) in (secret(), secret()),
        nonces in (nonce(), nonce()),
    ) {
        prop_assume!(prepare(secret.expose()) != prepare(other.expose()));
        let first = client::ClientFirst::new(&user, nonces.0);
        let heard = server::ClientFirst::parse(first.message().as_bytes()).expect("a message");
        let (challenge, text) = heard.challenge(verifier(&secret, b"salt", 4096), &nonces.1);
        let (_, last) = first.prove(text.as_bytes(), &other).expect("a challenge");
        prop_assert_eq!(challenge.check(last.as_bytes()), Ok((user, None)));
    }

    #[test]
    fn a_changed_message_proves_nothing(
        nonces in (nonce(), nonce()),
        which in 0..4usize,
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let user: UserName = "tim".parse().expect("a name");
        let secret = Secret::new("tanstaaf").expect("plain text");
        let first = client::ClientFirst::new(&user, nonces.0);
        let heard = |message: &str, turn: usize| {
            if which == turn {
                changed(message, at, to)
            } else {
                message.as_bytes().to_vec()
            }
        };
        let Ok(asked) = server::ClientFirst::parse(&heard(&first.message(), 0)) else {
            return Ok(());
        };
        let (challenge, text) = asked.challenge(verifier(&secret, b"salt", 4096), &nonces.1);
        let Ok((awaited, last)) = first.prove(&heard(&text, 1), &secret) else {
            return Ok(());
        };
        let Ok((_, Some(proof))) = challenge.check(&heard(&last, 2)) else {
            return Ok(());
        };
        prop_assert_eq!(which, 3, "a changed message was accepted");
        prop_assert!(awaited.check(&heard(&proof.message(), 3)).is_err());
    }
}

/// RFC 5802 §5 is an exchange of SCRAM-SHA-1; its messages have the same grammar.
#[test]
fn the_messages_of_rfc_5802_are_parsed_and_their_sha_1_proof_is_refused() {
    let first = server::ClientFirst::parse(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    let first = first.expect("a message");
    assert_eq!(first.user().as_str(), "user");
    let pencil = Secret::new("pencil").expect("plain text");
    let nonce = Nonce::from_random([0; Nonce::RANDOM]);
    let (challenge, text) = first.challenge(verifier(&pencil, b"salt", 4096), &nonce);
    let nonce = format!("fyko+d2lbbFgONRv9qkxdawL{}", nonce.as_str());
    assert_eq!(text, format!("r={nonce},s=c2FsdA==,i=4096"));
    let last = format!("c=biws,r={nonce},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    let (user, proof) = challenge.check(last.as_bytes()).expect("a message");
    assert_eq!((user.as_str(), proof), ("user", None));
}

/// RFC 4616 §4, RFC 4954 §4.1
#[test]
fn published_messages_of_plain_are_parsed() {
    for (text, read) in [
        (
            "AHRpbQB0YW5zdGFhZnRhbnN0YWFm",
            Ok(("tim", "tanstaaftanstaaf")),
        ),
        ("dGVzdAB0ZXN0ADEyMzQ=", Ok(("test", "1234"))),
        ("AHRlc3QAMTIzNA==", Ok(("test", "1234"))),
        // The user Kurt asks to act for Ursel.
        ("VXJzZWwAS3VydAB4aXBqM3BsbXE=", Err(ResponseError::Denied)),
    ] {
        let octets = base64::decode(text.as_bytes()).expect("base64");
        let found = plain::parse(&octets);
        let found = found
            .as_ref()
            .map(|(user, secret)| (user.as_str(), secret.expose()));
        assert_eq!(found, read.as_ref().copied(), "{text}");
    }
}
