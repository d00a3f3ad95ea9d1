//! The addresses of any field value are found in order and within the value. After the bare ones
//! are completed, the same addresses are found again and none is bare.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::address_list::{Address, addresses};

const DOMAIN: &[u8] = b"@d.test";

fuzz_target!(|value: &[u8]| {
    let found: Vec<Address> = addresses(value).collect();
    let mut completed = Vec::new();
    let mut done = 0;
    for address in &found {
        assert!(done <= address.whole.start && address.whole.end <= value.len());
        assert!(address.whole.start <= address.local_part.start);
        let end = match &address.domain {
            Some(domain) => {
                assert!(address.local_part.end < domain.start && !domain.is_empty());
                domain.end
            }
            None => address.local_part.end,
        };
        assert!(!address.local_part.is_empty() && end == address.whole.end);
        completed.extend_from_slice(&value[done..end]);
        if address.domain.is_none() {
            completed.extend_from_slice(DOMAIN);
        }
        done = end;
    }
    completed.extend_from_slice(&value[done..]);
    let again: Vec<Address> = addresses(&completed).collect();
    assert_eq!(again.len(), found.len());
    for (old, new) in found.iter().zip(&again) {
        let (local, kept) = (
            &value[old.local_part.clone()],
            &completed[new.local_part.clone()],
        );
        assert_eq!(local, kept);
        assert!(new.domain.is_some());
    }
});
