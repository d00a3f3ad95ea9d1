//! A header section under the rules for addresses: nothing but addresses changes, the limit holds, and
//! doing it again changes nothing.

#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use relay_smtpd::{Replacement, Rewriting};

const DOMAIN: &[u8] = b"@ours.test";
const MOST: usize = 4096;

fuzz_target!(|value: &[u8]| {
    let header = [b"To: ", value, b"\r\nFrom: ", value, b"\r\n"].concat();
    let mut rules = Rewriting {
        domain: Some("ours.test".into()),
        from: Vec::new(),
    };
    if let Ok(Cow::Owned(once)) = rules.header(&header, MOST) {
        assert!(once.len() <= MOST);
        assert!(is_completed(&header, &once));
        if let Ok(twice) = rules.header(&once, MOST) {
            assert_eq!(*twice, *once);
        }
    }
    rules.from.push(Replacement {
        pattern: "*@*".parse().expect("a pattern"),
        sender: "ops@else.test".parse().expect("an address"),
    });
    if let Ok(Cow::Owned(made)) = rules.header(&header, MOST) {
        assert!(made.len() <= MOST);
    }
});

/// Whether `new` is `old` with nothing but domains added.
fn is_completed(mut old: &[u8], mut new: &[u8]) -> bool {
    while !new.is_empty() {
        if old.first() == new.first() {
            (old, new) = (&old[1..], &new[1..]);
        } else if let Some(rest) = new.strip_prefix(DOMAIN) {
            new = rest;
        } else {
            return false;
        }
    }
    old.is_empty()
}
