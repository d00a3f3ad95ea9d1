//! The header section of a message (RFC 5322 §2.2), as octets.
//!
//! Everything that reads a header section reads it here, so no two parts of the relay disagree on where
//! the section ends or what a field is. [`fields`] reads a section that is whole in memory;
//! [`HeaderScan`] follows one that streams past.

mod scan;

use memchr::memchr;

pub use scan::{HeaderFault, HeaderScan};

/// A header field, unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, without the blanks that may precede the colon (RFC 5322 §4.5).
    pub name: &'a [u8],
    /// The text after the colon, with its folds and the end of its last line.
    pub value: &'a [u8],
    /// The whole field, with its continuation lines and the end of the last one.
    pub octets: &'a [u8],
}

impl<'a> Field<'a> {
    /// Reads a field from octets that hold one field, with or without continuation lines.
    ///
    /// `None` if they do not begin with a field name and a colon.
    pub fn parse(octets: &'a [u8]) -> Option<Self> {
        let colon = memchr(b':', &octets[..line_length(octets)])?;
        let mut name = &octets[..colon];
        while let [before @ .., b' ' | b'\t'] = name {
            name = before;
        }
        let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        is_name.then_some(Self {
            name,
            value: &octets[colon + 1..],
            octets,
        })
    }

    /// Whether the field has this name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The octets up to and including the colon.
    pub fn prefix_length(&self) -> usize {
        self.octets.len() - self.value.len()
    }
}

/// Returns the fields from the first octet up to an empty line, or to the first line that is not a
/// field.
///
/// A line ends with LF, which in a message from the wire always has a CR before it.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let first_line = line_length(rest);
        Field::parse(&rest[..first_line])?;
        let mut length = first_line;
        while matches!(rest.get(length), Some(b' ' | b'\t')) {
            length += line_length(&rest[length..]);
        }
        let (octets, tail) = rest.split_at(length);
        rest = tail;
        Field::parse(octets)
    })
}

/// Returns the number of octets that [`fields`] covers.
pub fn length(message: &[u8]) -> usize {
    fields(message).map(|field| field.octets.len()).sum()
}

/// Separates the header section from the body, and returns where the body begins.
///
/// If a line that is not a field ends the section, verifiers would disagree on where the body
/// begins. So the missing empty line is inserted. A message without a header section stays
/// unchanged.
pub fn separate_body(message: &mut Vec<u8>) -> usize {
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

/// Removes fields from a header section.
pub fn remove(message: &mut Vec<u8>, is_unwanted: impl Fn(&Field<'_>) -> bool) {
    if !fields(message).any(|field| is_unwanted(&field)) {
        return;
    }
    let kept = fields(message).filter(|field| !is_unwanted(field));
    let mut cleaned: Vec<u8> = kept.flat_map(|field| field.octets).copied().collect();
    cleaned.extend_from_slice(&message[length(message)..]);
    *message = cleaned;
}

fn line_length(octets: &[u8]) -> usize {
    memchr(b'\n', octets).map_or(octets.len(), |end| end + 1)
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
    fn fields_end_at_an_empty_line_or_a_line_that_is_not_a_field() {
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
    fn a_name_is_compared_in_any_case_and_without_trailing_blanks() {
        let message = b"SUBJECT \t: x\r\n";
        let names: Vec<bool> = fields(message).map(|field| field.is("Subject")).collect();
        assert_eq!(names, [true]);
    }

    #[test]
    fn an_empty_line_separates_the_header_section_from_the_body() {
        for (message, separated, body) in [
            ("A: 1\r\n\r\nbody\r\n", "A: 1\r\n\r\nbody\r\n", "body\r\n"),
            ("A: 1\r\nbody\r\n", "A: 1\r\n\r\nbody\r\n", "body\r\n"),
            ("A: 1\r\nbo", "A: 1\r\n\r\nbo", "bo"),
            ("A: 1\r\n\r\n", "A: 1\r\n\r\n", ""),
            ("A: 1\r\n", "A: 1\r\n", ""),
            ("\r\nbody\r\n", "\r\nbody\r\n", "body\r\n"),
            // The empty line belongs to the head.
            ("body\r\n", "body\r\n", "body\r\n"),
            ("", "", ""),
        ] {
            let mut octets = message.as_bytes().to_vec();
            let place = separate_body(&mut octets);
            assert_eq!(octets, separated.as_bytes(), "{message:?}");
            assert_eq!(&octets[place..], body.as_bytes(), "{message:?}");
        }
    }

    #[test]
    fn removing_a_field_leaves_the_rest_unchanged() {
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
                field.is("X") && field.value.starts_with(b" ")
            });
            assert_eq!(String::from_utf8_lossy(&octets), left, "{message:?}");
        }
    }
}
