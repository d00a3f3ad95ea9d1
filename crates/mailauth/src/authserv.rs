//! Recognizes Authentication-Results fields of others that carry our name (RFC 8601 §5).

/// Whether the value of an Authentication-Results field names this server as its author, in any spelling
/// that a reader might accept. A value that cannot be parsed counts as such.
pub fn claims_to_be(hostname: &str, value: &[u8]) -> bool {
    let Some(text) = identifier(value) else {
        return true;
    };
    let is_ours = |name: &[u8]| {
        let name = name.strip_suffix(b".").unwrap_or(name);
        name.eq_ignore_ascii_case(hostname.as_bytes())
    };
    // A semicolon that is left is inside a quoted string, which not every reader supports.
    let mut words = text
        .split(|octet| octet.is_ascii_whitespace() || *octet == b';')
        .filter(|word| !word.is_empty());
    // The word after the name is a version, but a name may also be written in pieces.
    let whole: Vec<u8> = words.clone().flatten().copied().collect();
    words.next().is_some_and(is_ours) || is_ours(&whole)
}

/// Returns the text before the first semicolon, without comments and quotation marks, or `None` if
/// a comment or a quoted string is not closed.
fn identifier(value: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut octets = value.iter().copied();
    let mut comments = 0_u32;
    let mut is_quoted = false;
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' if is_quoted || comments > 0 => {
                let escaped = octets.next()?;
                if comments == 0 {
                    text.push(escaped);
                }
            }
            b'"' if comments == 0 => is_quoted = !is_quoted,
            b'(' if !is_quoted => {
                comments = comments.checked_add(1)?;
                text.push(b' ');
            }
            b')' if comments > 0 => comments -= 1,
            _ if comments > 0 => {}
            b';' if !is_quoted => break,
            octet => text.push(octet),
        }
    }
    (comments == 0 && !is_quoted).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_name_is_recognized_in_every_spelling() {
        for value in [
            " mx.our.test; spf=pass",
            "mx.our.test;none",
            " MX.our.TEST; none",
            " mx.our.test 1; none",
            "\r\n\tmx.our.test\r\n 1\r\n ; none",
            " (they (say \\) so)) mx.our.test (x;y) 1; none",
            " \"mx.our.test\"; none",
            " \"mx.\\our.te\\st\" 1; none",
            " \"mx\".our.\"test\"; none",
            " \"mx.our\r\n .test\"; none",
            " mx.(a)our.(b)test; none",
            " mx . our . test; none",
            " mx.our.test.; none",
            " mx.our.test",
            " mx.our.test(1); none",
            " \"mx.our.test; none\"; none",
            // Readers may differ on a value that cannot be parsed.
            " (mx.our.test; none",
            " \"mx.our.test; none",
            " \"other.test\\",
        ] {
            assert!(claims_to_be("mx.our.test", value.as_bytes()), "{value:?}");
        }
    }

    #[test]
    fn fields_of_others_in_their_own_name_are_kept() {
        for value in [
            " mx.other.test; spf=pass",
            " x.mx.our.test; none",
            " our.test; dkim=pass header.d=mx.our.test",
            " other.test (mx.our.test); none",
            " other.test 1; none (mx.our.test",
            " mx.our.test.evil.test; none",
            " 1 mx.our.test; none",
            "; none",
            "",
        ] {
            assert!(!claims_to_be("mx.our.test", value.as_bytes()), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn comments_folds_and_case_do_not_hide_our_name(
            before in "( |\t|\r\n |\\([a-z;\" ]{0,5}\\)){0,4}",
            upper in any::<u16>(),
            after in "( [0-9])?[ \t]{0,2}(\\(x\\))?;.{0,10}",
        ) {
            let name: String = "mx.our.test".chars().enumerate()
                .map(|(i, c)| if upper >> i & 1 == 1 { c.to_ascii_uppercase() } else { c })
                .collect();
            let value = format!("{before}{name}{after}");
            prop_assert!(claims_to_be("mx.our.test", value.as_bytes()), "{value:?}");
        }
    }
}
