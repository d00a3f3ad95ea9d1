//! Decodes the message after DATA: finds its end and undoes dot-stuffing.
//!
//! Only CR LF . CR LF ends a message. Some servers also accept LF . LF or CR . CR as the end. Then
//! a client can hide a second message inside the first, unseen by the system that checked the first
//! one ("SMTP smuggling"). RFC 5321 §4.1.1.4 and §2.3.8 forbid this. So a bare CR or LF never ends
//! a message here: the message is refused, or the bare newline becomes CR LF and stays content.

use memchr::memchr3;

/// How to treat a bare CR or LF in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// It is an error: the message is refused (RFC 5321 §2.3.8).
    #[default]
    Refuse,
    /// It is a line end from a careless client. It becomes CR LF, but never ends the message.
    Normalize,
}

/// Why a message must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A CR without LF, or an LF without CR (RFC 5321 §2.3.8).
    BareNewline,
    /// A NUL octet (RFC 5321 §4.5.2: 1 to 127; RFC 6152 adds the upper half, not NUL).
    Nul,
    /// A line over the limit.
    LineTooLong,
}

/// The result of one call of [`BodyDecoder::decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// How many octets of input belonged to the message, including its end.
    pub consumed: usize,
    /// Whether the message has ended. The octets after it are the next command.
    pub ended: bool,
}

/// Undoes dot-stuffing (RFC 5321 §4.5.2) and finds the end of the message. The result does not
/// depend on how the input is split.
#[derive(Debug)]
pub struct BodyDecoder {
    state: DecoderState,
    policy: BareNewline,
    line_limit: usize,
    /// The octets of the line so far, without its first dot and its line end.
    line: usize,
    violation: Option<Violation>,
}

/// The position in the message, given by the octets so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DecoderState {
    /// After CR LF, or at the start of the message.
    LineStart,
    /// After a dot that follows CR LF.
    Dot,
    /// After a dot and a CR that follow CR LF.
    DotCr,
    /// Within a line.
    Text,
    /// After a CR within a line.
    Cr,
    /// After CR LF . CR LF.
    End,
}

impl BodyDecoder {
    /// Makes a decoder for a message whose lines may have `line_limit` octets.
    pub fn new(policy: BareNewline, line_limit: usize) -> Self {
        Self {
            state: DecoderState::LineStart,
            policy,
            line_limit,
            line: 0,
            violation: None,
        }
    }

    /// Appends the decoded input to `out`. After a violation nothing more is appended, but input is
    /// consumed up to the true end of the message, because the reply may be sent only there.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Decoded {
        let mut at = 0;
        while at < input.len() && self.state != DecoderState::End {
            at += match self.state {
                DecoderState::Text => self.take_text(&input[at..], out),
                _ => self.take_octet(input[at], out),
            };
        }
        Decoded {
            consumed: at,
            ended: self.state == DecoderState::End,
        }
    }

    /// The first violation that was found.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Copies a run of plain octets at once. CR, LF and NUL are handled one by one.
    fn take_text(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        match memchr3(b'\r', b'\n', 0, input) {
            Some(0) => {
                self.take_special(input[0], out);
                1
            }
            found => {
                let run = found.unwrap_or(input.len());
                self.put(&input[..run], out);
                run
            }
        }
    }

    /// Handles the octet after a line end, a leading dot or a CR. Returns how many octets were
    /// consumed; 0 means that the octet must be handled again in the new state.
    fn take_octet(&mut self, octet: u8, out: &mut Vec<u8>) -> usize {
        match (self.state, octet) {
            (DecoderState::LineStart, b'.') => self.state = DecoderState::Dot,
            (DecoderState::Dot, b'\r') => self.state = DecoderState::DotCr,
            (DecoderState::DotCr, b'\n') => self.state = DecoderState::End,
            (DecoderState::Cr, b'\n') => self.end_line(out),
            (DecoderState::Cr | DecoderState::DotCr, _) => {
                self.bare_newline(out);
                return 0;
            }
            (
                DecoderState::LineStart
                | DecoderState::Dot
                | DecoderState::Text
                | DecoderState::End,
                _,
            ) => {
                self.state = DecoderState::Text;
                return 0;
            }
        }
        1
    }

    fn take_special(&mut self, octet: u8, out: &mut Vec<u8>) {
        match octet {
            b'\r' => self.state = DecoderState::Cr,
            b'\n' => self.bare_newline(out),
            _ => self.violate(Violation::Nul),
        }
    }

    /// Handles a bare CR or LF. The line continues after it, and a dot there is content, because no
    /// client stuffs it.
    fn bare_newline(&mut self, out: &mut Vec<u8>) {
        match self.policy {
            BareNewline::Refuse => self.violate(Violation::BareNewline),
            BareNewline::Normalize => self.end_line(out),
        }
        self.state = DecoderState::Text;
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.line = 0;
        self.state = DecoderState::LineStart;
        if self.violation.is_none() {
            out.extend_from_slice(b"\r\n");
        }
    }

    fn put(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let fits = octets.len().min(self.line_limit.saturating_sub(self.line));
        self.line = self.line.saturating_add(octets.len());
        if self.violation.is_none() {
            out.extend_from_slice(&octets[..fits]);
        }
        if fits < octets.len() {
            self.violate(Violation::LineTooLong);
        }
    }

    fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn decode(policy: BareNewline, input: &[u8]) -> (Vec<u8>, usize, bool, Option<Violation>) {
        let mut decoder = BodyDecoder::new(policy, LIMIT);
        let mut out = Vec::new();
        let Decoded { consumed, ended } = decoder.decode(input, &mut out);
        (out, consumed, ended, decoder.violation())
    }

    #[test]
    fn dots_are_unstuffed_and_the_end_is_found() {
        for (wire, content) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"a\r\n..\r\n.\r\n", b"a\r\n.\r\n"),
            (b"..a\r\n.b\r\n.\r\n", b".a\r\nb\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
            (b"a.\r\n.\r\n", b"a.\r\n"),
        ] {
            let whole = [wire, b"QUIT\r\n"].concat();
            let expected = (content.to_vec(), wire.len(), true, None);
            assert_eq!(
                decode(BareNewline::Refuse, &whole),
                expected,
                "{}",
                wire.escape_ascii()
            );
        }
    }

    const FALSE_ENDS: [&[u8]; 8] = [
        b"\n.\n",
        b"\r\n.\n",
        b"\n.\r\n",
        b"\r.\r",
        b"\r\n.\r",
        b"\r.\r\n",
        b"\r\n.\r\r\n",
        b"\n\n.\r\n",
    ];

    #[test]
    fn a_bare_newline_never_ends_the_message() {
        for false_end in FALSE_ENDS {
            let wire = [b"first", false_end, b"MAIL FROM:<e@x.test>\r\n.\r\n"].concat();
            let (_, consumed, ended, violation) = decode(BareNewline::Refuse, &wire);
            let found = (consumed, ended, violation);
            let expected = (wire.len(), true, Some(Violation::BareNewline));
            assert_eq!(found, expected, "{}", false_end.escape_ascii());
        }
    }

    #[test]
    fn normalized_newlines_become_crlf_and_never_end_the_message() {
        for false_end in FALSE_ENDS {
            let wire = [b"first", false_end, b"more\r\n.\r\n"].concat();
            let (out, consumed, ended, violation) = decode(BareNewline::Normalize, &wire);
            let found = (consumed, ended, violation);
            assert_eq!(
                found,
                (wire.len(), true, None),
                "{}",
                false_end.escape_ascii()
            );
            let mut rest = &out[..];
            while let Some(i) = memchr::memchr2(b'\r', b'\n', rest) {
                assert_eq!(&rest[i..i + 2], b"\r\n", "{}", out.escape_ascii());
                rest = &rest[i + 2..];
            }
        }
        assert_eq!(
            decode(BareNewline::Normalize, b"a\nb\rc\r\n.\r\n").0,
            b"a\r\nb\r\nc\r\n"
        );
    }

    #[test]
    fn nul_and_overlong_lines_are_refused_at_the_true_end() {
        let (_, consumed, ended, violation) = decode(BareNewline::Normalize, b"a\0b\r\n.\r\n");
        assert_eq!(
            (consumed, ended, violation),
            (8, true, Some(Violation::Nul))
        );
        let long = [&[b'x'; LIMIT + 1][..], b"\r\n.\r\n"].concat();
        let (out, _, ended, violation) = decode(BareNewline::Refuse, &long);
        assert_eq!(
            (out.len(), ended, violation),
            (LIMIT, true, Some(Violation::LineTooLong))
        );
        let fits = [&[b'x'; LIMIT][..], b"\r\n.\r\n"].concat();
        assert_eq!(decode(BareNewline::Refuse, &fits).3, None);
    }

    #[test]
    fn the_first_violation_is_reported() {
        for (wire, first) in [
            (&b"a\0b\nc\r\n.\r\n"[..], Violation::Nul),
            (b"a\nb\0c\r\n.\r\n", Violation::BareNewline),
        ] {
            assert_eq!(decode(BareNewline::Refuse, wire).3, Some(first));
        }
    }
}
