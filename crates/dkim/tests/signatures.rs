//! This crate's signatures under an independent verifier, mail-auth, and the examples of the RFCs.

use std::sync::LazyLock;
use std::time::SystemTime;

use proptest::prelude::*;
use relay_dkim::{
    Algorithm, BodyHash, Canonicalization, Decision, GeneratedKey, HeaderList, PrivateKey, Record,
    Signer, SigningEntry,
};
use relay_testkit::DkimVerifier;

/// The results for the message's signatures, from the first one down.
fn verify(message: &[u8], verifier: &DkimVerifier) -> Vec<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(verifier.verify(message))
}

/// A table with both kinds of keys and both canonical forms, and the DNS records for it.
struct Fixture {
    signer: Signer,
    verifier: DkimVerifier,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let mut verifier = DkimVerifier::default();
    let entries: Vec<SigningEntry> = [
        (Algorithm::Rsa, Canonicalization::Relaxed, "one"),
        (Algorithm::Ed25519, Canonicalization::Simple, "two"),
    ]
    .into_iter()
    .map(|(algorithm, body, selector)| {
        let generated = GeneratedKey::generate(algorithm).expect("a key");
        let domain = "sender.test".parse().expect("a domain");
        let selector = selector.parse().expect("a selector");
        let record = Record::new(generated.public(), &domain, &selector);
        verifier.publish(&record.name, &record.value);
        SigningEntry {
            domain,
            selector,
            key: PrivateKey::from_pem(generated.pem().as_bytes()).expect("our own key"),
            subdomains: true,
            headers: HeaderList::default(),
            body,
            expire: None,
        }
    })
    .collect();
    Fixture {
        signer: Signer::new(entries).expect("a table"),
        verifier,
    }
});

/// The message with its signatures in front. Its body is written in pieces.
fn sign(message: &[u8], cuts: &[usize]) -> Vec<u8> {
    let end = memchr::memmem::find(message, b"\r\n\r\n").expect("a body") + 4;
    let (header, body) = message.split_at(end);
    let Decision::Sign(mut signing) = FIXTURE.signer.decide(header) else {
        panic!("not signed: {}", String::from_utf8_lossy(header));
    };
    let mut from = 0;
    for cut in cuts.iter().copied().chain([body.len()]) {
        signing.write(&body[from..cut]);
        from = cut;
    }
    let signatures = signing.finish(SystemTime::UNIX_EPOCH).expect("signatures");
    [&signatures, message].concat()
}

const MESSAGE: &str = "From: App <app@sender.test>\r\nTo: user@dest.test\r\nSubject: A\r\n\
    Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\n\r\n\
    hello  world \r\n\r\n\r\n";

#[test]
fn keys_of_one_domain_sign_side_by_side() {
    let signed = sign(MESSAGE.as_bytes(), &[]);
    assert_eq!(verify(&signed, &FIXTURE.verifier), [true, true]);
}

#[test]
fn mail_of_a_subdomain_is_signed() {
    let message = MESSAGE.replace("app@sender.test", "app@a.sender.test");
    let signed = sign(message.as_bytes(), &[]);
    assert_eq!(verify(&signed, &FIXTURE.verifier), [true, true]);
}

#[test]
fn a_change_of_signed_content_breaks_both_signatures() {
    let signed = String::from_utf8(sign(MESSAGE.as_bytes(), &[])).unwrap();
    for changed in [
        signed.replace("hello", "hallo"),
        signed.replace("Subject: A", "Subject: B"),
        format!("From: evil@else.test\r\n{signed}"),
        format!("Subject: B\r\n{signed}"),
        format!("Reply-To: evil@else.test\r\n{signed}"),
        format!("Cc: evil@else.test\r\n{signed}"),
        signed.replace("\r\n\r\nhello", "\r\nSubject: B\r\n\r\nhello"),
    ] {
        assert_eq!(
            verify(changed.as_bytes(), &FIXTURE.verifier),
            [false, false],
            "{changed}"
        );
    }
}

#[test]
fn changes_that_servers_make_break_no_signature() {
    let signed = String::from_utf8(sign(MESSAGE.as_bytes(), &[])).unwrap();
    for changed in [
        format!("Received: from a by b\r\n{signed}"),
        format!("MIME-Version: 1.0\r\n{signed}"),
        signed.replace("To: user", "to:  user"),
    ] {
        assert_eq!(
            verify(changed.as_bytes(), &FIXTURE.verifier),
            [true, true],
            "{changed}"
        );
    }
}

#[test]
fn the_example_of_rfc_6376_verifies() {
    // Appendix A, with errata 3192 and 4926, which it needs to verify.
    let message = include_str!("vectors/rfc6376.eml").replace('\n', "\r\n");
    let mut verifier = DkimVerifier::default();
    verifier.publish(
        "brisbane._domainkey.example.com",
        "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
         IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
         tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
    );
    assert_eq!(verify(message.as_bytes(), &verifier), [true]);
    let (_, body) = message.split_once("\r\n\r\n").unwrap();
    let mut hash = BodyHash::new(Canonicalization::Simple);
    hash.write(body.as_bytes());
    assert_eq!(
        hash.finish()[..4],
        [0xda, 0x35, 0x12, 0x38],
        "2jUSOH9N… in the signature's bh="
    );
}

#[test]
fn the_examples_of_rfc_8463_verify() {
    let message = include_str!("vectors/rfc8463.eml").replace('\n', "\r\n");
    let mut verifier = DkimVerifier::default();
    verifier.publish(
        "brisbane._domainkey.football.example.com",
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    );
    verifier.publish(
        "test._domainkey.football.example.com",
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy\
         5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9Pzo\
         xZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
    );
    assert_eq!(verify(message.as_bytes(), &verifier), [true, true]);
}

/// No white space before a colon: mail-auth does not find such a field by its name.
fn header() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "To",
        "subject",
        "CC",
        "Reply-To",
        "X-Other",
        "Received",
        "List-Id",
        "References",
    ]);
    let value = "[ -~]{0,30}( ?\r\n[ \t][!-~]{1,20}){0,3}[ \t]{0,2}";
    let field = (name, value).prop_map(|(name, value)| format!("{name}: {value}\r\n"));
    prop::collection::vec(field, 0..30).prop_map(|fields| fields.concat())
}

/// mail-auth's hash of trailing lines of white space differs from the RFC, so there are none here.
/// `tests/interop/dkim` tests them with dkimpy and others.
fn body() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-zé \t.]{0,10}(\r\n){0,3}", 0..30)
        .prop_map(|pieces| pieces.concat() + "end\r\n\r\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_signature_verifies_however_the_message_is_cut(
        above in header(),
        below in header(),
        body in body(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let message = format!("{above}From: a@sender.test\r\n{below}\r\n{body}");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        let signed = sign(message.as_bytes(), &cuts);
        prop_assert_eq!(verify(&signed, &FIXTURE.verifier), [true, true], "{}", String::from_utf8_lossy(&signed));
    }

    #[test]
    fn no_header_section_breaks_the_signer(
        header in prop::collection::vec(prop_oneof![
            Just(b"From: a@sender.test\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"Subject".to_vec()),
            Just(b": ".to_vec()),
            prop::collection::vec(any::<u8>(), 0..8),
        ], 0..40),
    ) {
        if let Decision::Sign(signing) = FIXTURE.signer.decide(&header.concat()) {
            let signatures = signing.finish(SystemTime::UNIX_EPOCH).unwrap();
            prop_assert!(signatures.is_ascii());
        }
    }
}
