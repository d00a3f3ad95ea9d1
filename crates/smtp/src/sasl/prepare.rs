//! Brings a password into one form, however it was typed.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Returns the form of a password that is hashed for SCRAM (RFC 5802 §2.2).
///
/// A text that RFC 4013 allows is prepared as it says: blanks of other scripts become a space,
/// characters that are commonly mapped to nothing are left out, and the rest is put in form NFKC.
/// Apart from control characters, text that RFC 4013 forbids, such as characters newer than Unicode
/// 3.2, is treated in the same way, because people have passwords with them.
pub fn prepare(text: &str) -> Zeroizing<String> {
    let blanks = text.chars().map(|c| if is_blank(c) { ' ' } else { c });
    let mapped = blanks.filter(|&c| !is_nothing(c));
    // Form NFKC has at most eleven times the octets (for U+FDFA). The space is allocated at once,
    // because the old copies of a growing string are not wiped.
    let mut prepared = Zeroizing::new(String::with_capacity(text.len().saturating_mul(11)));
    prepared.extend(mapped.nfkc());
    prepared
}

/// RFC 3454 table C.1.2
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200b}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// RFC 3454 table B.1
fn is_nothing(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{1806}' | '\u{180b}'..='\u{180d}' | '\u{200c}'..='\u{200d}'
        | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4013_are_prepared_as_specified() {
        for (text, prepared) in [
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
        ] {
            assert_eq!(*prepare(text), prepared);
        }
    }

    #[test]
    fn blanks_and_compositions_have_one_form() {
        assert_eq!(*prepare("a\u{a0}b\u{3000}c"), "a b c");
        assert_eq!(prepare("e\u{301}"), prepare("\u{e9}"));
        assert_eq!(*prepare("\u{1f511}"), "\u{1f511}");
    }
}
