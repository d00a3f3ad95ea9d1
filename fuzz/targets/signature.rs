//! Any signatures and key records are checked without a panic and in bounded time.

#![no_main]

use std::time::UNIX_EPOCH;

use libfuzzer_sys::fuzz_target;
use relay_dkim::{MAX_SIGNATURES, author_domains, claims};

fuzz_target!(|message: &[u8]| {
    // Header section, body and key record, separated by NUL, which no message contains.
    let mut parts = message.split(|octet| *octet == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (header, body, record) = (part(), part(), part());
    let (claims, mut bodies) = claims(header);
    assert!(claims.len() <= MAX_SIGNATURES);
    for piece in body.chunks(7) {
        bodies.write(piece);
    }
    let hashes = bodies.finish();
    for signature in claims
        .iter()
        .filter_map(|claim| claim.signature.as_ref().ok())
    {
        let name = signature.key_name();
        let is_plain = name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c));
        assert!(is_plain && name.len() <= 600, "{name:?}");
        let _ = signature.check_header(&[record.to_vec()], UNIX_EPOCH);
        let _ = hashes.check(signature);
    }
    let _ = author_domains(header);
});
