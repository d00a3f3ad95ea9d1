//! The header section of a message.

use relay_smtp::header::Field;

/// The fields, each with its continuation lines and its line end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    fields: Vec<Vec<u8>>,
}

/// The role of a line where a header section may continue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderLine {
    /// The line is part of the header section.
    Field,
    /// The line is empty and ends the header section.
    End,
    /// The line belongs to the body, and the empty line is missing.
    Text,
}

/// The fields that contain recipients.
const TO: [&str; 3] = ["To", "Cc", "Bcc"];
/// The same for a message that is resent. Its first recipients are still in the other fields (RFC
/// 5322 §3.6.6).
const RESENT_TO: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];
/// The fields with recipients that must stay hidden from the others.
const BCC: [&str; 2] = ["Bcc", "Resent-Bcc"];

impl Header {
    /// Adds a line, including its end, if it belongs to the header section.
    pub(crate) fn push_line(&mut self, line: &[u8]) -> HeaderLine {
        if line == b"\r\n" {
            return HeaderLine::End;
        }
        let is_continued = line.starts_with(b" ") || line.starts_with(b"\t");
        match self.fields.last_mut() {
            Some(field) if is_continued => field.extend_from_slice(line),
            // Some programs write the "From " line of a mailbox file before the first field.
            None if line.starts_with(b"From ") || line.starts_with(b">From ") => {}
            _ if !is_continued && name(line).is_some() => self.fields.push(line.to_vec()),
            _ => return HeaderLine::Text,
        }
        HeaderLine::Field
    }

    /// Returns whether the section has no fields yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(crate) fn has(&self, wanted: &str) -> bool {
        self.fields.iter().any(|field| is(field, wanted))
    }

    /// Adds a field, which includes its line end.
    pub(crate) fn add(&mut self, field: String) {
        self.fields.push(field.into_bytes());
    }

    /// Returns the values of the fields with the current recipients.
    pub(crate) fn recipients(&self) -> impl Iterator<Item = &[u8]> {
        let is_resent = RESENT_TO.iter().any(|name| self.has(name));
        let names = if is_resent { RESENT_TO } else { TO };
        let fields = self.fields.iter();
        fields
            .filter(move |field| names.iter().any(|name| is(field, name)))
            .map(|field| value(field))
    }

    /// Removes the fields with hidden recipients.
    pub(crate) fn remove_bcc(&mut self) {
        let is_bcc = |field: &[u8]| BCC.iter().any(|name| is(field, name));
        self.fields.retain(|field| !is_bcc(field));
    }

    /// Returns the whole section with the empty line after it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = self.fields.concat();
        text.extend_from_slice(b"\r\n");
        text
    }
}

/// Returns the name of the field that begins in this line, if there is one.
pub(crate) fn name(line: &[u8]) -> Option<&[u8]> {
    Field::parse(line).map(|field| field.name)
}

fn is(field: &[u8], wanted: &str) -> bool {
    Field::parse(field).is_some_and(|field| field.is(wanted))
}

fn value(field: &[u8]) -> &[u8] {
    Field::parse(field).map_or(&[], |field| field.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Header {
        let mut header = Header::default();
        for line in text.split_inclusive("\r\n") {
            assert_eq!(
                header.push_line(line.as_bytes()),
                HeaderLine::Field,
                "{line:?}"
            );
        }
        header
    }

    fn recipients(text: &str) -> String {
        let values: Vec<_> = header(text)
            .recipients()
            .map(|value| String::from_utf8_lossy(value).replace("\r\n", "~"))
            .collect();
        values.join("|")
    }

    #[test]
    fn resent_fields_replace_the_original_recipients() {
        for (text, expected) in [
            ("To: a\r\nX: y\r\ncc : b\r\nBCC: c\r\n", " a~| b~| c~"),
            ("To: a,\r\n b\r\n", " a,~ b~"),
            ("To: a\r\nResent-To: b\r\nResent-Bcc: c\r\n", " b~| c~"),
            ("To: a\r\nResent-From: b\r\n", " a~"),
            ("Subject: To: a\r\n", ""),
        ] {
            assert_eq!(recipients(text), expected, "{text:?}");
        }
    }

    #[test]
    fn bcc_fields_are_removed_with_their_continuation_lines() {
        let mut header = header("To: a\r\nBcc: b,\r\n\tc\r\nSubject: Bcc: d\r\nresent-bcc: e\r\n");
        header.remove_bcc();
        assert_eq!(header.encode(), b"To: a\r\nSubject: Bcc: d\r\n\r\n");
    }

    #[test]
    fn the_section_ends_at_an_empty_line_or_at_the_first_line_that_is_not_a_field() {
        for (line, expected) in [
            ("\r\n", HeaderLine::End),
            ("hello\r\n", HeaderLine::Text),
            ("two words: x\r\n", HeaderLine::Text),
            (": x\r\n", HeaderLine::Text),
            (" x\r\n", HeaderLine::Text),
            ("Subject: x\r\n", HeaderLine::Field),
            ("From a@b.test Sat Nov 21\r\n", HeaderLine::Field),
        ] {
            let mut header = Header::default();
            assert_eq!(header.push_line(line.as_bytes()), expected, "{line:?}");
        }
        assert_eq!(header("From x y\r\nTo: a\r\n").encode(), b"To: a\r\n\r\n");
    }
}
