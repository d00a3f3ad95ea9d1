//! Signatures of others under this crate's verifier.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{Canonicalization as Form, DkimSigner};
use proptest::prelude::*;
use relay_dkim::{
    Algorithm, Canonicalization, Decision, GeneratedKey, HeaderList, MAX_SIGNATURES, PrivateKey,
    Record, SignatureError, Signer, SigningEntry, claims,
};

type Zone = HashMap<String, String>;

/// The results for the signatures, from the top down, with the keys of the zone.
fn verify_at(message: &[u8], zone: &Zone, now: SystemTime) -> Vec<Result<(), SignatureError>> {
    let end = memchr::memmem::find(message, b"\r\n\r\n").expect("a body") + 4;
    let (claims, mut bodies) = claims(&message[..end]);
    for piece in message[end..].chunks(7) {
        bodies.write(piece);
    }
    let hashes = bodies.finish();
    let verify = |signature: &relay_dkim::Signature| {
        let record = zone.get(&signature.key_name());
        let records: Vec<_> = record.map(|r| r.as_bytes().to_vec()).into_iter().collect();
        signature.check_header(&records, now)?;
        hashes.check(signature)
    };
    let results = claims.into_iter();
    results
        .map(|claim| claim.signature.and_then(|s| verify(&s)))
        .collect()
}

fn verify(message: &[u8], zone: &Zone) -> Vec<Result<(), SignatureError>> {
    verify_at(
        message,
        zone,
        UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    )
}

/// A table with both kinds of keys and both forms of body, and the DNS records for it.
static OURS: LazyLock<(Signer, Zone)> = LazyLock::new(|| {
    let mut zone = Zone::new();
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
        zone.insert(record.name, record.value);
        SigningEntry {
            domain,
            selector,
            key: PrivateKey::from_pem(generated.pem().as_bytes()).expect("our own key"),
            subdomains: true,
            headers: HeaderList::default(),
            body,
            expire: Some(Duration::from_mins(1)),
        }
    })
    .collect();
    (Signer::new(entries).expect("a table"), zone)
});

const SIGNED_AT: Duration = Duration::from_secs(1_699_999_990);

fn sign(message: &str) -> String {
    let (header, body) = message.split_once("\r\n\r\n").expect("a body");
    let header = format!("{header}\r\n");
    let Decision::Sign(mut signing) = OURS.0.decide(header.as_bytes()) else {
        panic!("not signed: {header}");
    };
    signing.write(body.as_bytes());
    let signatures = signing.finish(UNIX_EPOCH + SIGNED_AT).expect("signatures");
    String::from_utf8(signatures).expect("text") + message
}

const MESSAGE: &str = "From: App <app@sender.test>\r\nTo: user@dest.test\r\nSubject: A\r\n\
    Date : Fri, 20 Nov 2026 10:00:00 +0000\r\n\r\nhello  world \r\n \r\n\t\r\n\r\n";

/// Verifiers differ about white space before a colon and lines of white space at the end.
#[test]
fn own_signatures_verify() {
    assert_eq!(verify(sign(MESSAGE).as_bytes(), &OURS.1), [Ok(()), Ok(())]);
}

#[test]
fn a_changed_field_and_a_changed_body_are_different_errors() {
    let signed = sign(MESSAGE);
    for (changed, flaw) in [
        (
            signed.replace("hello", "hallo"),
            SignatureError::BodyChanged,
        ),
        (format!("{signed}more\r\n"), SignatureError::BodyChanged),
        (
            signed.replace("Subject: A", "Subject: B"),
            SignatureError::Forged,
        ),
        (
            format!("From: evil@else.test\r\n{signed}"),
            SignatureError::Forged,
        ),
        (
            signed.replace("Date : Fri", "Date : Sat"),
            SignatureError::Forged,
        ),
        (
            signed.replace("t=1699999990", "t=1699999991"),
            SignatureError::Forged,
        ),
        (
            signed.replace("x=1700000050", "x=1699999991"),
            SignatureError::Expired,
        ),
        (
            signed.replace("d=sender.test", "d=else.test"),
            SignatureError::NoKey,
        ),
        (
            signed
                .replace("rsa-sha256", "rsa-sha1")
                .replace("ed25519-sha256", "rsa-sha1"),
            SignatureError::Sha1,
        ),
        (
            signed.replace("DKIM-Signature: v=1;", "DKIM-Signature: "),
            SignatureError::Syntax,
        ),
    ] {
        assert_eq!(
            verify(changed.as_bytes(), &OURS.1),
            [Err(flaw), Err(flaw)],
            "{changed}"
        );
    }
}

#[test]
fn a_record_limits_the_use_of_its_key() {
    let signed = sign(MESSAGE);
    for (from, to, flaw) in [
        ("v=DKIM1; ", "v=DKIM1; h=sha1; ", SignatureError::WrongKey),
        ("v=DKIM1; ", "v=DKIM1; s=tlsrpt; ", SignatureError::WrongKey),
        ("v=DKIM1; ", "v=DKIM2; ", SignatureError::NoKey),
        ("p=", "p=; n=", SignatureError::Revoked),
        ("p=", "p=?; n=", SignatureError::NoKey),
        // With its space, because the base64 text of a key can end in "k=".
        (" k=", " k=other; n=", SignatureError::WrongKey),
    ] {
        let zone = OURS
            .1
            .iter()
            .map(|(name, r)| (name.clone(), r.replace(from, to)))
            .collect();
        assert_eq!(
            verify(signed.as_bytes(), &zone),
            [Err(flaw), Err(flaw)],
            "{from}: {to}"
        );
    }
    let strict = OURS
        .1
        .iter()
        .map(|(n, r)| (n.clone(), format!("{r}; t=s:y; s=email:*")));
    assert_eq!(
        verify(signed.as_bytes(), &strict.collect()),
        [Ok(()), Ok(())]
    );
}

#[test]
fn the_examples_of_the_rfcs_verify() {
    // RFC 6376 Appendix A, with errata 3192 and 4926: simple header section and body.
    let rfc_6376 = include_str!("vectors/rfc6376.eml").replace('\n', "\r\n");
    let zone = [(
        "brisbane._domainkey.example.com",
        "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
         IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
         tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
    )];
    let zone: Zone = zone.map(|(n, r)| (n.to_owned(), r.to_owned())).into();
    assert_eq!(verify(rfc_6376.as_bytes(), &zone), [Ok(())]);
    let key = &zone["brisbane._domainkey.example.com"];
    let strict = [(
        "brisbane._domainkey.example.com".to_owned(),
        format!("{key}; t=s"),
    )];
    assert_eq!(
        verify(rfc_6376.as_bytes(), &strict.into()),
        [Err(SignatureError::Identity)]
    );

    let rfc_8463 = include_str!("vectors/rfc8463.eml").replace('\n', "\r\n");
    let zone = [
        (
            "brisbane._domainkey.football.example.com",
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        ),
        (
            "test._domainkey.football.example.com",
            "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy\
             5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9Pzo\
             xZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
        ),
    ];
    let zone = zone.map(|(n, r)| (n.to_owned(), r.to_owned())).into();
    assert_eq!(verify(rfc_8463.as_bytes(), &zone), [Ok(()), Ok(())]);
}

/// Signs with another program's signer, as if the message had no signature before.
fn sign_elsewhere(message: &str, header: Form, body: Form, length: bool) -> (String, Zone) {
    let der = Ed25519Key::generate_pkcs8().expect("a key");
    let key = Ed25519Key::from_pkcs8_der(&der).expect("a key");
    let record = base64(&key.public_key());
    let signer = DkimSigner::from_key(key)
        .domain("else.test")
        .selector("s")
        .headers(["From", "Subject", "Subject", "DKIM-Signature"])
        .header_canonicalization(header)
        .body_canonicalization(body)
        .body_length(length);
    let field = signer
        .sign(message.as_bytes())
        .expect("a signature")
        .to_header();
    let record = format!("v=DKIM1; k=ed25519; p={record}");
    (
        field + message,
        [("s._domainkey.else.test".to_owned(), record)].into(),
    )
}

fn base64(octets: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(octets)
}

#[test]
fn a_length_counts_only_if_it_covers_the_whole_body() {
    let message = "From: a@else.test\r\nSubject:  A  b\r\n\tc\r\n\r\nhello\r\n";
    let now = SystemTime::UNIX_EPOCH;
    for (header, body) in [(Form::Relaxed, Form::Simple), (Form::Simple, Form::Relaxed)] {
        let (signed, zone) = sign_elsewhere(message, header, body, true);
        assert!(signed.contains(" l=7;"), "{signed}");
        assert_eq!(verify_at(signed.as_bytes(), &zone, now), [Ok(())]);
        let longer = format!("{signed}buy this\r\n");
        assert_eq!(
            verify_at(longer.as_bytes(), &zone, now),
            [Err(SignatureError::PartOfBody)]
        );
        let respelt = signed.replace("Subject:  A", "subject: A");
        let verdict = if header == Form::Relaxed {
            Ok(())
        } else {
            Err(SignatureError::Forged)
        };
        assert_eq!(verify_at(respelt.as_bytes(), &zone, now), [verdict]);
    }
}

#[test]
fn no_more_signatures_than_the_limit_are_verified() {
    let many = "DKIM-Signature: v=1\r\n".repeat(MAX_SIGNATURES + 1) + MESSAGE;
    let verdicts = verify(many.as_bytes(), &OURS.1);
    assert_eq!(verdicts, [Err(SignatureError::Syntax); MAX_SIGNATURES]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_signature_breaks_the_verifier(
        pieces in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "v=1;", "a=rsa-sha256;", "a=ed25519-sha256;", "b=", "bh=", "YQ==", ";", "d=a.test;",
                "s=s;", "h=from:", "from", ":", "c=simple/", "relaxed", "i=@", "l=", "x=", "t=", "\r\n ",
                "=", "\r\nDKIM-Signature:", "\r\nFrom: a@a.test",
            ]).prop_map(|piece| piece.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..6),
        ], 0..40),
        record in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let header = [b"DKIM-Signature:".to_vec(), pieces.concat()].concat();
        let (claims, bodies) = claims(&header);
        let hashes = bodies.finish();
        for signature in claims.iter().filter_map(|claim| claim.signature.as_ref().ok()) {
            let key = [b"k=ed25519; p=".to_vec(), record.clone()].concat();
            prop_assert!(signature.check_header(&[record.clone(), key], UNIX_EPOCH).is_err());
            let _ = hashes.check(signature);
        }
    }
}
