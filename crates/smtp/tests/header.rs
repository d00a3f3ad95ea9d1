//! The streaming reader and the whole reader of header sections agree on any octets, split in any
//! way.

use proptest::prelude::*;
use relay_smtp::header::{self, HeaderFault, HeaderScan, fields};

/// Octets that often form fields, folds and ends.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"Received".to_vec()),
        Just(b"reCEIVED: ".to_vec()),
        Just(b":".to_vec()),
        Just(b" ".to_vec()),
        Just(b"\t".to_vec()),
        Just(b"Subject : x\r\n".to_vec()),
        Just("\u{fc}".as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn received(message: &[u8]) -> usize {
    fields(message).filter(|field| field.is("Received")).count()
}

fn scan(message: &[u8], cuts: &[usize], hops: u32) -> HeaderScan {
    let mut scan = HeaderScan::new(usize::MAX, hops);
    let mut rest = message;
    for cut in cuts {
        let (piece, tail) = rest.split_at(cut % (rest.len() + 1));
        scan.feed(piece);
        rest = tail;
    }
    scan.feed(rest);
    scan
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn both_readers_agree_on_any_octets_in_any_pieces(
        mut message in octets(),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        // The message ends with a line end, because an incomplete line could still become a field.
        message.push(b'\n');
        let length = header::length(&message);
        let count = u32::try_from(received(&message)).expect("few");
        let found = scan(&message, &cuts, count);
        prop_assert_eq!(found.has_ended(), length < message.len());
        prop_assert_eq!(found.is_missing(), length == 0 && !message.starts_with(b"\r"));
        prop_assert_eq!(found.is_utf8(), !message[..length].is_ascii());
        prop_assert_eq!(found.fault(), None);
        if let Some(fewer) = count.checked_sub(1) {
            let fault = scan(&message, &cuts, fewer).fault();
            prop_assert_eq!(fault, Some(HeaderFault::TooManyHops));
        }
    }

    #[test]
    fn fields_are_consecutive_and_each_parses_alone_to_the_same_field(message in octets()) {
        let mut start = 0;
        for field in fields(&message) {
            prop_assert_eq!(&message[start..start + field.octets.len()], field.octets);
            prop_assert_eq!(header::Field::parse(field.octets), Some(field));
            prop_assert_eq!(fields(field.octets).collect::<Vec<_>>(), vec![field]);
            start += field.octets.len();
        }
        prop_assert_eq!(start, header::length(&message));
    }

    #[test]
    fn a_separated_body_stays_separated(message in octets()) {
        let mut once = message.clone();
        let body = header::separate_body(&mut once);
        prop_assert!(once.ends_with(&message[header::length(&message)..]));
        let mut twice = once.clone();
        prop_assert_eq!(header::separate_body(&mut twice), body);
        prop_assert_eq!(twice, once);
    }
}
