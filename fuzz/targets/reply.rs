//! Any octets of a server are parsed to replies or an error, however they are split, and the text of
//! a reply has no control characters.
//!
//! The first octet is the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::Reply;
use relay_smtp::reply_parser::{ReplyError, ReplyParser};

/// More octets than the parser keeps of one reply, and fewer than a peer can send.
const TEXT: usize = 8192;

fuzz_target!(|input: &[u8]| {
    let (size, wire) = match input.split_first() {
        Some((size, wire)) => (usize::from(*size).max(1), wire),
        None => return,
    };
    let whole = parse(wire, wire.len().max(1));
    assert_eq!(parse(wire, size), whole);
    assert_eq!(parse(wire, 1), whole);
    for reply in &whole.0 {
        assert!((200..600).contains(&reply.code()));
        let text = reply.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < TEXT);
        let mut encoded = Vec::new();
        reply.encode(&mut encoded);
        let (again, error) = parse(&encoded, encoded.len());
        assert!(error.is_none() && again.len() == 1, "{again:?} {error:?}");
        assert_eq!(again[0].code(), reply.code());
        assert_eq!(again[0].status(), reply.status());
    }
});

fn parse(wire: &[u8], size: usize) -> (Vec<Reply>, Option<ReplyError>) {
    let (mut parser, mut replies) = (ReplyParser::default(), Vec::new());
    for mut piece in wire.chunks(size) {
        while !piece.is_empty() {
            match parser.parse(&mut piece) {
                Ok(reply) => replies.extend(reply),
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}
