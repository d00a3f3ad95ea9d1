//! For any octets, the streaming reader of header sections and the one for whole sections find the
//! same end, the same Received fields and the same octets beyond ASCII, however the input is split.
//!
//! The first octet is the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::header::{self, Field, HeaderFault, HeaderScan, fields};

fuzz_target!(|input: &[u8]| {
    let Some((size, message)) = input.split_first() else {
        return;
    };
    // The message ends with a line end, because an incomplete line could still become a field.
    let message = [message, b"\n"].concat();
    let length = header::length(&message);
    let received = fields(&message).filter(|field| field.is("Received"));
    let received = u32::try_from(received.count()).expect("an input is short");
    for size in [usize::from(*size).max(1), 1, message.len()] {
        let found = scan(&message, size, received);
        assert_eq!(found.has_ended(), length < message.len());
        assert_eq!(found.is_utf8(), !message[..length].is_ascii());
        assert_eq!(found.fault(), None);
        if let Some(fewer) = received.checked_sub(1) {
            let fault = scan(&message, size, fewer).fault();
            assert_eq!(fault, Some(HeaderFault::TooManyHops));
        }
    }
    for field in fields(&message) {
        assert_eq!(Field::parse(field.octets), Some(field));
    }
    let mut separated = message.clone();
    let body = header::separate_body(&mut separated);
    let mut again = separated.clone();
    assert_eq!(header::separate_body(&mut again), body);
    assert_eq!(again, separated);
});

fn scan(message: &[u8], size: usize, hops: u32) -> HeaderScan {
    let mut scan = HeaderScan::new(usize::MAX, hops);
    for piece in message.chunks(size) {
        scan.feed(piece);
    }
    scan
}
