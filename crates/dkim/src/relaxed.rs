//! The relaxed form of a header field.

use relay_smtp::header::Field;

/// Appends the field in the relaxed form (RFC 6376 §3.4.2), without its line end.
pub(crate) fn write_relaxed(field: &Field<'_>, out: &mut Vec<u8>) {
    out.extend(field.name.to_ascii_lowercase());
    out.push(b':');
    let start = out.len();
    let mut rest = field.value;
    let mut blank = false;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b' ' | b'\t' => blank = true,
            b'\r' if tail.first() == Some(&b'\n') => rest = &tail[1..],
            b'\n' => {}
            octet => {
                if std::mem::take(&mut blank) && out.len() > start {
                    out.push(b' ');
                }
                out.push(octet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use relay_smtp::header::fields;

    use super::*;

    fn relaxed(header: &str) -> Vec<String> {
        fields(header.as_bytes())
            .map(|field| {
                let mut out = Vec::new();
                write_relaxed(&field, &mut out);
                String::from_utf8(out).expect("text")
            })
            .collect()
    }

    #[test]
    fn the_relaxed_form_matches_the_rfc() {
        // RFC 6376 §3.4.5
        assert_eq!(relaxed("A: X\r\nB : Y\t\r\n\tZ  \r\n"), ["a:X", "b:Y Z"]);
        assert_eq!(relaxed("Subject:  \r\n \t\r\n"), ["subject:"]);
        assert_eq!(relaxed("X:a\r\n b"), ["x:a b"]);
    }

    #[test]
    fn only_spaces_and_tabs_are_blanks() {
        assert_eq!(relaxed("X: a\u{c}b \u{b} c\r\n"), ["x:a\u{c}b \u{b} c"]);
    }

    proptest! {
        #[test]
        fn the_relaxed_form_is_one_line_and_never_longer(
            header in proptest::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b' '), Just(b':'), any::<u8>()
            ], 0..200)
        ) {
            let mut out = Vec::new();
            for field in fields(&header) {
                out.clear();
                write_relaxed(&field, &mut out);
                prop_assert!(out.len() <= field.name.len() + 1 + field.value.len());
                prop_assert!(!out.windows(2).any(|pair| pair == b"\r\n"));
            }
        }
    }
}
