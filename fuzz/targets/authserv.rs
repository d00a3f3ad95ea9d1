//! No Authentication-Results field that a simpler reader takes for ours is kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_mailauth::claims_to_be;

const NAME: &str = "our.test";

/// Whether a simpler reader takes the field for ours: one that skips white space, comments that are
/// not nested, or quotation marks, and compares the word before the first semicolon.
fn is_taken_for_ours(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    let start = text.split(';').next().unwrap_or_default();
    let uncommented = match (start.split_once('('), start.split_once(')')) {
        (Some((before, _)), Some((_, behind))) => format!("{before} {behind}"),
        _ => start.to_owned(),
    };
    let unquoted = start.replace('"', "");
    [start, &uncommented, &unquoted].into_iter().any(|text| {
        let word = text.split_ascii_whitespace().next();
        word.is_some_and(|word| word.eq_ignore_ascii_case(NAME))
    })
}

fuzz_target!(|value: &[u8]| {
    // A better reader disagrees about comments that contain a semicolon or another comment.
    let is_simple = value
        .iter()
        .filter(|octet| b"()\"\\".contains(octet))
        .count()
        <= 2;
    if is_simple && is_taken_for_ours(value) {
        assert!(claims_to_be(NAME, value), "{}", value.escape_ascii());
    }
    // The text before and after our name does not matter.
    assert!(claims_to_be(NAME, b" (x) OUR.test 1"));
    let _ = claims_to_be(NAME, value);
});
