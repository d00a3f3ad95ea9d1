//! A message ends only at the first CR LF . CR LF, however the input is split.
//!
//! The first octet chooses how bare newlines are treated, the second is the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::body::{BareNewline, BodyDecoder, Violation};
use relay_smtp::client::ContentEncoder;

const LINE_LIMIT: usize = 100;

fuzz_target!(|input: &[u8]| {
    let [policy, size, wire @ ..] = input else {
        return;
    };
    let policy = if policy % 2 == 0 {
        BareNewline::Refuse
    } else {
        BareNewline::Normalize
    };
    let whole = read(policy, wire, wire.len());
    assert_eq!(read(policy, wire, usize::from(*size)), whole);
    assert_eq!(read(policy, wire, 1), whole);

    let framed = [b"\r\n", wire].concat();
    let end = framed.windows(5).position(|w| w == b"\r\n.\r\n");
    assert_eq!(whole.ended, end.is_some());
    assert_eq!(whole.consumed, end.map_or(wire.len(), |start| start + 3));
    assert_clean(&whole.content);

    if whole.ended && whole.violation.is_none() {
        let again = read(BareNewline::Refuse, &encode(&whole.content), wire.len());
        assert!(again.ended && again.violation.is_none());
        assert_eq!(again.content, whole.content);
    }
});

#[derive(Debug, PartialEq)]
struct Reading {
    content: Vec<u8>,
    consumed: usize,
    ended: bool,
    violation: Option<Violation>,
}

fn read(policy: BareNewline, wire: &[u8], size: usize) -> Reading {
    let mut decoder = BodyDecoder::new(policy, LINE_LIMIT);
    let mut content = Vec::new();
    let (mut consumed, mut ended) = (0, false);
    while consumed < wire.len() && !ended {
        let rest = &wire[consumed..];
        let taken = decoder.decode(&rest[..size.clamp(1, rest.len())], &mut content);
        consumed += taken.consumed;
        ended = taken.ended;
    }
    let violation = decoder.violation();
    Reading {
        content,
        consumed,
        ended,
        violation,
    }
}

fn encode(content: &[u8]) -> Vec<u8> {
    let (mut encoder, mut wire) = (ContentEncoder::default(), Vec::new());
    encoder.encode(content, &mut wire);
    encoder.finish(&mut wire);
    wire
}

/// Checks that there is no NUL, and that CR and LF occur only as CR LF.
fn assert_clean(content: &[u8]) {
    let mut before = 0;
    for &octet in content {
        assert!(octet != 0 && (octet == b'\n') == (before == b'\r'));
        before = octet;
    }
    assert_ne!(before, b'\r');
}
