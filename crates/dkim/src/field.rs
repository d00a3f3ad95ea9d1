//! The fields of a header section, as octets.

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// What stands before the colon, without blanks.
    pub(crate) name: &'a [u8],
    /// What stands behind it, folded as it came, its last line's end included.
    pub(crate) value: &'a [u8],
    /// All of it as it came.
    pub(crate) octets: &'a [u8],
}

impl Field<'_> {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Appends the field in the relaxed form (RFC 6376 §3.4.2), without a line's end.
    pub(crate) fn write_relaxed(&self, out: &mut Vec<u8>) {
        out.extend(self.name.to_ascii_lowercase());
        out.push(b':');
        let start = out.len();
        let mut rest = self.value;
        let mut blank = false;
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            match first {
                b' ' | b'\t' => blank = true,
                b'\r' if tail.first() == Some(&b'\n') => rest = &tail[1..],
                octet => {
                    if std::mem::take(&mut blank) && out.len() > start {
                        out.push(b' ');
                    }
                    out.push(octet);
                }
            }
        }
    }
}

/// The fields of a header section in their order, up to the empty line that ends it or to the end of
/// the octets. A line that is no field (RFC 5322 §2.2) is passed over.
pub(crate) fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() || rest.starts_with(b"\r\n") {
                return None;
            }
            let (field, tail) = rest.split_at(unfolded_len(rest));
            rest = tail;
            if let Some(field) = parse(field) {
                return Some(field);
            }
        }
    })
}

/// How long the first field is, with the lines that it is folded over.
fn unfolded_len(octets: &[u8]) -> usize {
    memchr::memmem::find_iter(octets, b"\r\n")
        .map(|end| end + 2)
        .find(|&next| !matches!(octets.get(next), Some(b' ' | b'\t')))
        .unwrap_or(octets.len())
}

fn parse(field: &[u8]) -> Option<Field<'_>> {
    let (name, value) = field.split_at(memchr::memchr(b':', field)?);
    // RFC 5322 §4.5: blanks before the colon are obsolete, but there are.
    let name = name.trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then_some(Field {
        name,
        value: &value[1..],
        octets: field,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(header: &str) -> Vec<String> {
        fields(header.as_bytes())
            .map(|field| String::from_utf8_lossy(field.name).into_owned())
            .collect()
    }

    fn relaxed(header: &str) -> Vec<String> {
        fields(header.as_bytes())
            .map(|field| {
                let mut out = Vec::new();
                field.write_relaxed(&mut out);
                String::from_utf8(out).unwrap()
            })
            .collect()
    }

    #[test]
    fn fields_end_where_no_blank_follows_and_the_section_at_an_empty_line() {
        assert_eq!(
            names("A: 1\r\n 2\r\n\t3\r\nB : 4\r\n\r\nC: 5\r\n"),
            ["A", "B"]
        );
        assert_eq!(names("A: 1"), ["A"]);
        assert_eq!(names("\r\nA: 1\r\n"), [""; 0]);
        assert_eq!(names(""), [""; 0]);
    }

    #[test]
    fn what_is_no_field_is_passed_over() {
        assert_eq!(
            names("From a@b.test Mon 10:00\r\nA: 1\r\nnothing\r\n: 2\r\nB:\r\n"),
            ["A", "B"]
        );
        assert_eq!(names(" From: a\r\nTo: b\r\n"), ["To"]);
    }

    #[test]
    fn the_relaxed_form_is_the_rfcs() {
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
        fn any_octets_are_parted_without_a_loss(
            header in proptest::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b' '), Just(b':'), any::<u8>()
            ], 0..200)
        ) {
            let mut out = Vec::new();
            for field in fields(&header) {
                out.clear();
                field.write_relaxed(&mut out);
                prop_assert!(out.len() <= field.name.len() + 1 + field.value.len());
                prop_assert!(!out.windows(2).any(|pair| pair == b"\r\n"));
            }
        }
    }
}
