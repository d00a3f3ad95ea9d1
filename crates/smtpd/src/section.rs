//! The header section of a message, as octets.

use memchr::memchr;

/// A field, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// Without the blanks that may stand before the colon.
    pub(crate) name: &'a [u8],
    /// All of it, with the lines that it is folded over and the end of the last one.
    pub(crate) octets: &'a [u8],
}

impl<'a> Field<'a> {
    /// What stands behind the colon.
    pub(crate) fn value(&self) -> &'a [u8] {
        memchr(b':', self.octets).map_or(&[], |colon| &self.octets[colon + 1..])
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields from the first octet up to an empty line, or to the first line that is no field
/// (RFC 5322 §2.2), which is where the session ends a header section too.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let first_line = &rest[..line_len(rest)];
        let name = field_name(first_line)?;
        let mut length = first_line.len();
        while matches!(rest.get(length), Some(b' ' | b'\t')) {
            length += line_len(&rest[length..]);
        }
        let (octets, tail) = rest.split_at(length);
        rest = tail;
        Some(Field { name, octets })
    })
}

/// How many octets of the message are fields.
pub(crate) fn length(message: &[u8]) -> usize {
    fields(message).map(|field| field.octets.len()).sum()
}

/// Parts the header section of a message from its body, whose place is returned.
///
/// Where a line that is no field ends the section, verifiers would not agree on which is which: the
/// empty line that is missing is put there. Before a message that is all body it stands in the head.
pub(crate) fn part(message: &mut Vec<u8>) -> usize {
    const EMPTY_LINE: &[u8] = b"\r\n";
    let fields = length(message);
    let rest = &message[fields..];
    if rest.starts_with(EMPTY_LINE) {
        return fields + EMPTY_LINE.len();
    }
    if fields == 0 || rest.is_empty() {
        return fields;
    }
    message.splice(fields..fields, EMPTY_LINE.iter().copied());
    fields + EMPTY_LINE.len()
}

/// Takes fields out of a header section.
pub(crate) fn remove(message: &mut Vec<u8>, is_unwanted: impl Fn(&Field<'_>) -> bool) {
    if !fields(message).any(|field| is_unwanted(&field)) {
        return;
    }
    let kept = fields(message).filter(|field| !is_unwanted(field));
    let mut cleaned: Vec<u8> = kept.flat_map(|field| field.octets).copied().collect();
    cleaned.extend_from_slice(&message[length(message)..]);
    *message = cleaned;
}

fn line_len(octets: &[u8]) -> usize {
    memchr(b'\n', octets).map_or(octets.len(), |end| end + 1)
}

/// The name of the field that begins in this line, if one does (RFC 5322 §4.5 for white space before
/// the colon).
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let mut name = &line[..memchr(b':', line)?];
    while let [before @ .., b' ' | b'\t'] = name {
        name = before;
    }
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(message: &str) -> (Vec<&str>, &str) {
        let length = length(message.as_bytes());
        let fields = fields(message.as_bytes()).map(|field| str::from_utf8(field.octets));
        let fields = fields.collect::<Result<_, _>>().expect("text");
        (fields, &message[length..])
    }

    #[test]
    fn fields_end_at_an_empty_line_or_at_one_that_is_none() {
        for (message, fields, rest) in [
            (
                "A: 1\r\nB: 2\r\n\r\nC: 3\r\n",
                &["A: 1\r\n", "B: 2\r\n"][..],
                "\r\nC: 3\r\n",
            ),
            (
                "A: 1\r\n 2\r\n\t\r\nB : 3\r\n",
                &["A: 1\r\n 2\r\n\t\r\n", "B : 3\r\n"],
                "",
            ),
            ("A: 1\r\nno field: x\r\n", &["A: 1\r\n"], "no field: x\r\n"),
            ("A: 1\r\nno fie", &["A: 1\r\n"], "no fie"),
            (" A: 1\r\nB: 2\r\n", &[], " A: 1\r\nB: 2\r\n"),
            (": 1\r\n", &[], ": 1\r\n"),
            ("\u{e4}: 1\r\n", &[], "\u{e4}: 1\r\n"),
            ("\r\nA: 1\r\n", &[], "\r\nA: 1\r\n"),
            ("A:", &["A:"], ""),
            ("", &[], ""),
        ] {
            assert_eq!(split(message), (fields.to_vec(), rest), "{message:?}");
        }
    }

    #[test]
    fn a_name_is_compared_without_its_case_and_the_blanks_behind_it() {
        let message = b"SUBJECT \t: x\r\n";
        let names: Vec<bool> = fields(message).map(|field| field.is("Subject")).collect();
        assert_eq!(names, [true]);
    }

    #[test]
    fn header_section_and_body_are_parted_by_an_empty_line() {
        for (message, parted, body) in [
            ("A: 1\r\n\r\nbody\r\n", "A: 1\r\n\r\nbody\r\n", "body\r\n"),
            ("A: 1\r\nbody\r\n", "A: 1\r\n\r\nbody\r\n", "body\r\n"),
            ("A: 1\r\nbo", "A: 1\r\n\r\nbo", "bo"),
            ("A: 1\r\n\r\n", "A: 1\r\n\r\n", ""),
            ("A: 1\r\n", "A: 1\r\n", ""),
            ("\r\nbody\r\n", "\r\nbody\r\n", "body\r\n"),
            // The head has the empty line.
            ("body\r\n", "body\r\n", "body\r\n"),
            ("", "", ""),
        ] {
            let mut octets = message.as_bytes().to_vec();
            let place = part(&mut octets);
            assert_eq!(octets, parted.as_bytes(), "{message:?}");
            assert_eq!(&octets[place..], body.as_bytes(), "{message:?}");
        }
    }

    #[test]
    fn what_is_removed_leaves_the_rest_as_it_was() {
        for (message, left) in [
            ("X: 1\r\nA: 2\r\n\r\nX: b\r\n", "A: 2\r\n\r\nX: b\r\n"),
            ("A: 1\r\nx : 2\r\n\t3\r\nB: 4\r\n", "A: 1\r\nB: 4\r\n"),
            ("X: 1\r\n\r\nb", "\r\nb"),
            (
                "A: 1\r\nno field\r\nX: 2\r\n",
                "A: 1\r\nno field\r\nX: 2\r\n",
            ),
            ("A: 1\r\n\r\nb", "A: 1\r\n\r\nb"),
        ] {
            let mut octets = message.as_bytes().to_vec();
            remove(&mut octets, |field| {
                field.is("X") && field.value().starts_with(b" ")
            });
            assert_eq!(String::from_utf8_lossy(&octets), left, "{message:?}");
        }
    }
}
