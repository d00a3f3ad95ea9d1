//! Any octets: the streaming reader of header sections and the one for whole sections find the same end,
//! the same Received fields and the same octets beyond ASCII, however the octets are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::header::{self, HeaderFault, HeaderScan, fields};

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (mut message, cuts) = input;
    // A line without its end may still become a field; with its end there is nothing open.
    message.push(b'\n');
    let length = header::length(&message);
    let received = fields(&message).filter(|field| field.is("Received")).count();
    let received = u32::try_from(received).expect("an input is short");
    let scan = scan(&message, &cuts, received);
    assert_eq!(scan.has_ended(), length < message.len());
    assert_eq!(scan.is_utf8(), !message[..length].is_ascii());
    assert_eq!(scan.fault(), None);
    if let Some(fewer) = received.checked_sub(1) {
        let fault = self::scan(&message, &cuts, fewer).fault();
        assert_eq!(fault, Some(HeaderFault::TooManyHops));
    }
    for field in fields(&message) {
        assert_eq!(header::Field::parse(field.octets), Some(field));
    }
    let mut separated = message.clone();
    let body = header::separate_body(&mut separated);
    let mut again = separated.clone();
    assert_eq!(header::separate_body(&mut again), body);
    assert_eq!(again, separated);
});

fn scan(mut message: &[u8], cuts: &[u8], hops: u32) -> HeaderScan {
    let mut scan = HeaderScan::new(usize::MAX, hops);
    for &cut in cuts {
        let (piece, rest) = message.split_at(usize::from(cut).min(message.len()));
        scan.feed(piece);
        message = rest;
    }
    scan.feed(message);
    scan
}
