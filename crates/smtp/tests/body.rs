//! Compares the decoder with a simple reading of RFC 5321 §4.1.1.4 and §4.5.2, for input split in
//! any way.

use proptest::collection::vec;
use proptest::prelude::*;
use relay_smtp::body::{BareNewline, BodyDecoder, Violation};
use relay_smtp::client::ContentEncoder;

const LINE_LIMIT: usize = 60;

/// The result of decoding an input.
#[derive(Debug, PartialEq)]
struct Reading {
    content: Vec<u8>,
    consumed: usize,
    ended: bool,
    violation: Option<Violation>,
}

fn read(policy: BareNewline, wire: &[u8], mut piece: impl FnMut() -> usize) -> Reading {
    let mut decoder = BodyDecoder::new(policy, LINE_LIMIT);
    let mut reading = Reading {
        content: Vec::new(),
        consumed: 0,
        ended: false,
        violation: None,
    };
    while reading.consumed < wire.len() && !reading.ended {
        let rest = &wire[reading.consumed..];
        let input = &rest[..piece().clamp(1, rest.len())];
        let taken = decoder.decode(input, &mut reading.content);
        assert!(taken.ended || taken.consumed == input.len());
        reading.consumed += taken.consumed;
        reading.ended = taken.ended;
    }
    reading.violation = decoder.violation();
    reading
}

/// Returns the index after the first CR LF . CR LF. The CR LF of DATA counts as its first.
fn true_end(wire: &[u8]) -> Option<usize> {
    let framed = [b"\r\n", wire].concat();
    let end = framed.windows(5).position(|w| w == b"\r\n.\r\n");
    end.map(|start| start + 3)
}

/// Returns the lines as a receiver sees them that handles only CR LF and dots.
fn plain_reading(wire: &[u8]) -> Vec<u8> {
    let lines = std::str::from_utf8(wire).expect("ASCII").split("\r\n");
    let lines: Vec<&str> = lines.map(|l| l.strip_prefix('.').unwrap_or(l)).collect();
    lines.join("\r\n").into_bytes()
}

/// Most errors occur at dots and line ends, so the input has many of them.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b".",
        b".",
        b"..",
        b"\r\n.\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"a",
        b"text",
        b"\n.\n",
        b"\r.\r",
        b"\r\n.",
    ];
    let piece = prop_oneof![
        9 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => (1..80usize).prop_map(|length| vec![b'x'; length]),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Lines in which CR and LF occur only as CR LF, without NUL.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let line = "[.]{0,3}[a-z.é]{0,20}".prop_map(|line| line + "\r\n");
    vec(line, 0..20).prop_map(|lines| lines.concat().into_bytes())
}

fn policy() -> impl Strategy<Value = BareNewline> {
    prop::sample::select(vec![BareNewline::Refuse, BareNewline::Normalize])
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_the_pieces(
        policy in policy(),
        wire in wire(),
        sizes in vec(1..20usize, 1..10),
    ) {
        let whole = read(policy, &wire, || wire.len());
        prop_assert_eq!(&read(policy, &wire, || 1), &whole);
        let mut sizes = sizes.iter().cycle();
        prop_assert_eq!(&read(policy, &wire, || *sizes.next().expect("endless")), &whole);
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_message(policy in policy(), wire in wire()) {
        let reading = read(policy, &wire, || wire.len());
        let end = true_end(&wire);
        prop_assert_eq!(reading.ended, end.is_some());
        prop_assert_eq!(reading.consumed, end.unwrap_or(wire.len()));
    }

    #[test]
    fn accepted_content_matches_a_simple_reading(wire in wire()) {
        let wire = [&wire[..], b"\r\n.\r\n"].concat();
        let wire = &wire[..true_end(&wire).expect("it was added")];
        let reading = read(BareNewline::Refuse, wire, || wire.len());
        let body = &wire[..wire.len() - 3];
        let text = String::from_utf8_lossy(body).replace("\r\n", "");
        let is_clean = !text.contains(['\r', '\n', '\0']);
        let is_short = plain_reading(body).split(|&b| b == b'\n').all(|l| l.len() <= LINE_LIMIT);
        prop_assert!(reading.violation.is_some() || is_clean);
        prop_assert!(reading.violation.is_none() || !is_clean || !is_short);
        if reading.violation.is_none() {
            prop_assert_eq!(reading.content, plain_reading(body));
        }
    }

    #[test]
    fn normalized_content_has_no_bare_newline_and_no_nul(wire in wire()) {
        let reading = read(BareNewline::Normalize, &wire, || wire.len());
        let text = String::from_utf8(reading.content).expect("ASCII");
        prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']));
        prop_assert_ne!(reading.violation, Some(Violation::BareNewline));
    }

    #[test]
    fn decoding_undoes_encoding(message in message(), size in 1..50usize) {
        let (mut encoder, mut wire) = (ContentEncoder::default(), Vec::new());
        for piece in message.chunks(size) {
            encoder.encode(piece, &mut wire);
        }
        encoder.finish(&mut wire);
        let reading = read(BareNewline::Refuse, &wire, || size);
        let expected = Reading { content: message, consumed: wire.len(), ended: true, violation: None };
        prop_assert_eq!(reading, expected);
    }
}

#[test]
fn an_endless_line_gathers_no_more_than_its_limit() {
    let mut decoder = BodyDecoder::new(BareNewline::Refuse, LINE_LIMIT);
    let mut out = Vec::new();
    for _ in 0..1000 {
        decoder.decode(&[b'x'; 1000], &mut out);
    }
    assert_eq!(out.len(), LINE_LIMIT);
}
