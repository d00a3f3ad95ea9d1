//! A formatted pattern parses to the same pattern, and a pattern matches an address in either case
//! or in none.
//!
//! The first line is the pattern, the rest is the sender.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::ReversePath;
use relay_smtp::pattern::{DomainPattern, SenderPattern};

fuzz_target!(|input: &str| {
    let (text, sender) = input.split_once('\n').unwrap_or((input, ""));
    if let Ok(pattern) = text.parse::<DomainPattern>() {
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
    let Ok(pattern) = text.parse::<SenderPattern>() else {
        return;
    };
    let again: SenderPattern = pattern.to_string().parse().expect("a formatted pattern");
    assert_eq!(again, pattern);
    let Ok(path) = sender.parse::<ReversePath>() else {
        return;
    };
    let matches = pattern.matches(&path);
    assert_eq!(again.matches(&path), matches);
    if let Ok(upper) = sender.to_ascii_uppercase().parse::<ReversePath>() {
        assert_eq!(pattern.matches(&upper), matches);
    }
});
