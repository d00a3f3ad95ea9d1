//! Converts text as programs write it to the lines of a message, which end in CR LF.

use std::io::{self, BufRead};

/// Reads text whose lines end with LF or CR LF. The text ends with the input or, unless dots are ignored, at
/// a line with a single dot. A NUL, which no message may contain (RFC 5321 §4.5.2), becomes a question mark.
///
/// In the body a lone CR also ends a line, because programs draw progress bars with it. In the header section
/// it is passed on unchanged, so that a program cannot begin a new field within a value.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    ignore_dots: bool,
    in_header: bool,
    at: Position,
    /// Whether the last octet was a CR. The next octet decides what it means.
    has_cr: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    LineStart,
    /// After a dot at the beginning of a line. The dot has not been passed on yet.
    Dot,
    Line,
    /// The end of the text.
    End,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R, ignore_dots: bool) -> Self {
        Self {
            input,
            ignore_dots,
            in_header: true,
            at: Position::LineStart,
            has_cr: false,
        }
    }

    /// Treats the rest of the text as the body.
    pub(crate) fn end_header(&mut self) {
        self.in_header = false;
    }

    /// Appends the next piece. Returns `false` at the end.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if self.at == Position::End {
            return Ok(false);
        }
        let piece = loop {
            match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                piece => break piece?.to_vec(),
            }
        };
        if piece.is_empty() {
            self.finish(out);
            return Ok(true);
        }
        self.input.consume(piece.len());
        for octet in piece {
            self.pass(octet, out);
            if self.at == Position::End {
                break;
            }
        }
        Ok(true)
    }

    fn pass(&mut self, octet: u8, out: &mut Vec<u8>) {
        let had_cr = std::mem::take(&mut self.has_cr);
        match octet {
            b'\n' => self.line_feed(out),
            b'\r' if had_cr && self.in_header => self.has_cr = true,
            _ if had_cr && self.in_header => {
                self.push(b'\r', out);
                self.pass(octet, out);
            }
            _ if had_cr => {
                self.end_line(out);
                self.pass(octet, out);
            }
            b'\r' => self.has_cr = true,
            b'.' if self.at == Position::LineStart && !self.ignore_dots => self.at = Position::Dot,
            0 => self.push(b'?', out),
            _ => self.push(octet, out),
        }
    }

    fn push(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.release_dot(out);
        out.push(octet);
        self.at = Position::Line;
    }

    fn line_feed(&mut self, out: &mut Vec<u8>) {
        if self.at == Position::Dot {
            self.at = Position::End;
        } else {
            self.end_line(out);
        }
    }

    /// Ends a line at a lone CR. This never ends the message, because a progress bar may write a
    /// dot before it.
    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.release_dot(out);
        out.extend_from_slice(b"\r\n");
        self.at = Position::LineStart;
    }

    fn release_dot(&mut self, out: &mut Vec<u8>) {
        if self.at == Position::Dot {
            out.push(b'.');
        }
    }

    /// Ends the last line, which may have no line end. A final dot without a line end also ends the
    /// message.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.has_cr || self.at == Position::Line {
            self.end_line(out);
        }
        self.at = Position::End;
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8], ignore_dots: bool, size: usize) -> Vec<u8> {
        let mut lines = Lines::new(BufReader::with_capacity(size, text), ignore_dots);
        lines.end_header();
        let mut out = Vec::new();
        while lines.read(&mut out).expect("a slice") {}
        out
    }

    #[test]
    fn every_kind_of_line_end_becomes_cr_lf() {
        for (text, expected) in [
            ("", ""),
            ("a", "a\r\n"),
            ("a\n", "a\r\n"),
            ("a\r\nb\n", "a\r\nb\r\n"),
            ("1%\r2%\r", "1%\r\n2%\r\n"),
            ("a\r\r\n", "a\r\n\r\n"),
            ("\n\n", "\r\n\r\n"),
            (".a\n", ".a\r\n"),
            ("..\n", "..\r\n"),
            (".\rb\n", ".\r\nb\r\n"),
            ("a\0\n\0\n", "a?\r\n?\r\n"),
        ] {
            for size in 1..=4 {
                let got = read(text.as_bytes(), false, size);
                assert_eq!(String::from_utf8_lossy(&got), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn a_single_dot_ends_the_message_unless_dots_are_ignored() {
        for text in ["a\n.\nb\n", "a\r\n.\r\nb\r\n"] {
            for size in 1..=4 {
                assert_eq!(read(text.as_bytes(), false, size), b"a\r\n");
                assert_eq!(read(text.as_bytes(), true, size), b"a\r\n.\r\nb\r\n");
            }
        }
        assert_eq!(read(b"a\n.", false, 8), b"a\r\n");
        assert_eq!(read(b"a\n.", true, 8), b"a\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn no_cr_or_lf_is_bare_however_the_input_is_split(
            text in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..200),
            size in 1usize..50,
        ) {
            let lines = read(&text, true, size);
            prop_assert_eq!(&lines, &read(&text, true, 1000));
            for (i, &octet) in lines.iter().enumerate() {
                prop_assert!(octet != b'\n' || i > 0 && lines[i - 1] == b'\r');
                prop_assert!(octet != b'\r' || lines.get(i + 1) == Some(&b'\n'));
            }
            prop_assert!(lines.is_empty() || lines.ends_with(b"\r\n"));
        }
    }
}
