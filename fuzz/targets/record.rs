//! Whatever octets lie under a record's key, they are refused or mean one record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_queue::recode_record;

fuzz_target!(|input: &[u8]| {
    // The first octet of a record is its version: others are refused at once.
    let stored = [&[1], input].concat();
    if let Some(once) = recode_record(&stored) {
        assert!(once.len() <= stored.len());
        assert_eq!(recode_record(&once).as_ref(), Some(&once));
    }
});
