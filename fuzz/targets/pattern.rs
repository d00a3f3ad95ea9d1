//! Any text and any address: a pattern is parsed again as it is shown, still matches what it matched, and
//! matches an address in any case or in none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::pattern::{DomainPattern, SenderPattern};
use relay_smtp::ReversePath;

fuzz_target!(|input: (&str, &str)| {
    let (text, sender) = input;
    if let Ok(pattern) = text.parse::<DomainPattern>() {
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
    let Ok(pattern) = text.parse::<SenderPattern>() else {
        return;
    };
    let again: SenderPattern = pattern.to_string().parse().expect("a pattern shows itself");
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
