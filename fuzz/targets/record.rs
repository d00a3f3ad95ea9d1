//! Whatever octets lie under a record's key, they are refused or mean one record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_queue::recode_record;

fuzz_target!(|input: &[u8]| {
    // The first octet of a record is its version: others are refused at once.
    let Some((&version, rest)) = input.split_first() else {
        return;
    };
    let stored = [&[version % 2 + 1], rest].concat();
    if let Some(once) = recode_record(&stored) {
        // A recipient of version 1 has seven octets at least, and becomes three longer.
        assert!(once.len() <= stored.len() * 2);
        assert_eq!(recode_record(&once).as_ref(), Some(&once));
    }
});
