//! No Authentication-Results field passes for ours with a reader that knows less than we do.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_mailauth::claims_to_be;

const NAME: &str = "our.test";

/// Readers that pass over white space, comments of one level, or quotation marks, and compare the word
/// before the first semicolon.
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
    // A comment that holds a semicolon or another comment is read otherwise by those who know more.
    let is_simple = value
        .iter()
        .filter(|octet| b"()\"\\".contains(octet))
        .count()
        <= 2;
    if is_simple && is_taken_for_ours(value) {
        assert!(claims_to_be(NAME, value), "{}", value.escape_ascii());
    }
    // Whatever is put before and behind it, the name alone is ours.
    assert!(claims_to_be(NAME, b" (x) OUR.test 1"));
    let _ = claims_to_be(NAME, value);
});
