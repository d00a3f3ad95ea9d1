//! Any stored octets are refused, or decode to a record that encodes and decodes to itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_queue::recode_record;

fuzz_target!(|input: &[u8]| {
    // The first octet of a record is its version. Unknown versions are refused at once.
    let Some((&version, rest)) = input.split_first() else {
        return;
    };
    let stored = [&[version % 2 + 1], rest].concat();
    if let Some(once) = recode_record(&stored) {
        // A recipient of version 1 has at least seven octets, and gets three more.
        assert!(once.len() <= stored.len() * 2);
        assert_eq!(recode_record(&once).as_ref(), Some(&once));
    }
});
