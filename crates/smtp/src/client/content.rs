//! Encodes the message for sending after DATA (RFC 5321 §4.5.2).

/// Encodes a message, in pieces of any size, for sending after the 354 reply.
///
/// A line that begins with a dot gets another one. A bare CR or LF becomes CRLF, because servers
/// disagree on whether it ends a line. The end is always CRLF.CRLF.
#[derive(Debug, Default)]
pub struct ContentEncoder {
    at: Position,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Before the first octet of a line.
    #[default]
    LineStart,
    /// Within a line.
    Line,
    /// After a CR that has not been passed on yet.
    Cr,
}

impl ContentEncoder {
    /// Appends the next piece of the message to `out`.
    pub fn encode(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        out.reserve(input.len());
        if self.at == Position::Cr && !input.is_empty() {
            input = input.strip_prefix(b"\n").unwrap_or(input);
            end_line(out);
            self.at = Position::LineStart;
        }
        while let Some(&first) = input.first() {
            if self.at == Position::LineStart && first == b'.' {
                out.push(b'.');
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', input) else {
                out.extend_from_slice(input);
                self.at = Position::Line;
                return;
            };
            out.extend_from_slice(&input[..end]);
            let rest = &input[end..];
            input = match rest {
                [b'\r'] => {
                    self.at = Position::Cr;
                    return;
                }
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => &[],
            };
            end_line(out);
            self.at = Position::LineStart;
        }
    }

    /// Appends the end of the message: the line end of its last line, if it is missing, and the
    /// dot.
    pub fn finish(self, out: &mut Vec<u8>) {
        match self.at {
            Position::LineStart => {}
            Position::Line | Position::Cr => end_line(out),
        }
        out.extend_from_slice(b".\r\n");
    }
}

fn end_line(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(message: &[u8], size: usize) -> Vec<u8> {
        let (mut encoder, mut out) = (ContentEncoder::default(), Vec::new());
        for piece in message.chunks(size) {
            encoder.encode(piece, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    #[test]
    fn dots_are_doubled_and_line_ends_become_crlf() {
        for (message, wire) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            (".a\r\n..b\r\nc.d\r\n", "..a\r\n...b\r\nc.d\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r.\rb\r", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\r\nb\r\n", "a\r\n\r\nb\r\n.\r\n"),
            ("\r\n\r\n", "\r\n\r\n.\r\n"),
            ("a\n\r.\r\n", "a\r\n\r\n..\r\n.\r\n"),
        ] {
            for size in 1..=message.len().max(1) {
                let got = encode(message.as_bytes(), size);
                assert_eq!(
                    got.escape_ascii().to_string(),
                    wire.as_bytes().escape_ascii().to_string()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn crlf_dot_crlf_is_only_at_the_end_and_no_newline_is_bare(
            message in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..200),
            size in 1usize..50,
        ) {
            let wire = encode(&message, size);
            prop_assert_eq!(&wire, &encode(&message, 1000));
            let framed = [b"\r\n", wire.as_slice()].concat();
            let end = framed.windows(5).position(|w| w == b"\r\n.\r\n");
            prop_assert_eq!(end, Some(framed.len() - 5));
            for (i, &octet) in wire.iter().enumerate() {
                prop_assert!(octet != b'\n' || i > 0 && wire[i - 1] == b'\r');
                prop_assert!(octet != b'\r' || wire.get(i + 1) == Some(&b'\n'));
            }
        }
    }
}
