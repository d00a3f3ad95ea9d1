//! Parses the replies of a peer, incrementally and in bounded memory (RFC 5321 §4.2).
//!
//! Harmless errors of a peer are accepted: a bare LF as line end, a code without text, octets that
//! are not UTF-8. A reply that is ambiguous or endless is an error. After an error nothing more can
//! be parsed, so the connection must be closed.

use crate::reply::Reply;
use crate::status::EnhancedStatus;

/// The longest line that is accepted, without its end. RFC 5321 §4.5.3.1.5 allows 512 octets;
/// servers exceed that.
const MAX_LINE: usize = 4096;
/// The most lines of one reply.
const MAX_LINES: usize = 100;
/// The most octets of text that are kept of one reply. The text is stored for every recipient, so
/// the rest is read and discarded.
const MAX_TEXT: usize = 2048;
/// The most octets that are quoted of a line that is not a reply.
const MAX_QUOTE: usize = 80;

/// Why the octets of a peer are not a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line without a code from 200 to 599 followed by a space, a hyphen or nothing.
    #[error("not an SMTP reply: {0:?}")]
    NotAReply(String),
    /// The lines of one reply differ in their code (RFC 5321 §4.2.1).
    #[error("the lines of a reply differ in their code: {first}, then {then}")]
    CodeChanged {
        /// The code of the first line.
        first: u16,
        /// The code that differs.
        then: u16,
    },
    /// A line of more than 4096 octets.
    #[error("a line of a reply is too long")]
    EndlessLine,
    /// More than 100 lines.
    #[error("a reply has too many lines")]
    EndlessReply,
}

/// Assembles replies from input of any size.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// The line that is not complete yet.
    line: Vec<u8>,
    /// The reply that is not complete yet.
    reply: Option<Partial>,
    /// The number of complete replies.
    whole: u64,
}

#[derive(Debug)]
struct Partial {
    code: u16,
    count: usize,
    kept: usize,
    status: Option<EnhancedStatus>,
    lines: Vec<String>,
}

impl ReplyParser {
    /// Consumes octets from the front of `input` up to the end of a reply. Returns `None` if all
    /// are consumed and the reply is not complete.
    ///
    /// After an error the parser must not be used again.
    pub fn parse(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (head, rest) = input.split_at(end);
            *input = &rest[1..];
            self.extend_line(head)?;
            let line = std::mem::take(&mut self.line);
            let last = self.add_line(line.strip_suffix(b"\r").unwrap_or(&line))?;
            self.line = line;
            self.line.clear();
            if last {
                let whole = self.reply.take();
                self.whole += 1;
                return Ok(whole.map(|p| Reply::received(p.code, p.status, p.lines)));
            }
        }
        self.extend_line(input)?;
        *input = &[];
        Ok(None)
    }

    /// Whether no part of a reply has been read.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty() && self.reply.is_none()
    }

    /// The number of complete replies so far.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    fn extend_line(&mut self, octets: &[u8]) -> Result<(), ReplyError> {
        if self.line.len() + octets.len() > MAX_LINE {
            return Err(ReplyError::EndlessLine);
        }
        self.line.extend_from_slice(octets);
        Ok(())
    }

    /// Whether `line` was the last of its reply.
    fn add_line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let not_a_reply = || ReplyError::NotAReply(printable(line, MAX_QUOTE));
        let code = code_of(line).ok_or_else(not_a_reply)?;
        let last = match line.get(3) {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(not_a_reply()),
        };
        let reply = self.reply.get_or_insert_with(|| Partial::new(code));
        if reply.code != code {
            return Err(ReplyError::CodeChanged {
                first: reply.code,
                then: code,
            });
        }
        reply.add_text(line.get(4..).unwrap_or_default())?;
        Ok(last)
    }
}

impl Partial {
    fn new(code: u16) -> Self {
        Self {
            code,
            count: 0,
            kept: 0,
            status: None,
            lines: Vec::new(),
        }
    }

    fn add_text(&mut self, text: &[u8]) -> Result<(), ReplyError> {
        self.count += 1;
        if self.count > MAX_LINES {
            return Err(ReplyError::EndlessReply);
        }
        if self.kept < MAX_TEXT {
            let text = printable(text, MAX_TEXT - self.kept);
            self.kept += text.len().max(1);
            let text = self.without_status(text);
            self.lines.push(text);
        }
        Ok(())
    }

    /// Removes the enhanced status from the front (RFC 2034 §4), if it matches the code of the
    /// reply.
    fn without_status(&mut self, text: String) -> String {
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let Ok(status) = word.parse::<EnhancedStatus>() else {
            return text;
        };
        let agrees = word.as_bytes().first().map(|&b| u16::from(b - b'0')) == Some(self.code / 100);
        if !agrees || self.status.is_some_and(|s| s != status) {
            return text;
        }
        self.status = Some(status);
        rest.trim_start().to_owned()
    }
}

/// Parses the three digits at the front, from 200 to 599 (RFC 5321 §4.2.1).
fn code_of(line: &[u8]) -> Option<u16> {
    let digits = line.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
    (200..600).contains(&code).then_some(code)
}

/// Returns at most `limit` octets of UTF-8 without control characters, because a peer must not
/// control what a log, a bounce or a terminal shows.
fn printable(octets: &[u8], limit: usize) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(octets).trim_end().chars() {
        let c = match c {
            '\t' => ' ',
            c if c.is_control() || is_layout(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if text.len() + c.len_utf8() > limit {
            break;
        }
        text.push(c);
    }
    text
}

/// Line and paragraph separators, and characters that change the direction of writing.
fn is_layout(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Parses every reply in `wire`, in pieces of `size` octets. Also returns whether all input was
    /// consumed.
    fn parse(wire: &[u8], size: usize) -> (Vec<String>, Result<bool, ReplyError>) {
        let (mut parser, mut replies) = (ReplyParser::default(), Vec::new());
        for mut piece in wire.chunks(size.max(1)) {
            while !piece.is_empty() {
                match parser.parse(&mut piece) {
                    Ok(Some(reply)) => replies.push(reply.to_string()),
                    Ok(None) => {}
                    Err(error) => return (replies, Err(error)),
                }
            }
        }
        (replies, Ok(parser.is_empty()))
    }

    #[test]
    fn replies_are_parsed_whole_or_in_pieces() {
        for (wire, expected) in [
            ("250 ok\r\n", vec!["250 ok"]),
            ("250\r\n", vec!["250"]),
            ("250 \r\n", vec!["250"]),
            ("250 ok\n354 go\r\n", vec!["250 ok", "354 go"]),
            ("250-a\r\n250-\r\n250 b\r\n", vec!["250 a b"]),
            ("550 5.1.1 no user\r\n", vec!["550 5.1.1 no user"]),
            (
                "550-5.1.1 no\r\n550 5.1.1 user\r\n",
                vec!["550 5.1.1 no user"],
            ),
            ("550-sorry\r\n550 5.1.1 no\r\n", vec!["550 5.1.1 sorry no"]),
            (
                "550-5.1.1 a\r\n550 5.7.1 b\r\n",
                vec!["550 5.1.1 a 5.7.1 b"],
            ),
            ("550 2.0.0 lies\r\n", vec!["550 2.0.0 lies"]),
            ("250 2.0.0\r\n", vec!["250 2.0.0"]),
            ("250 tab\there \r\n", vec!["250 tab here"]),
        ] {
            for size in 1..=wire.len() {
                let (replies, end) = parse(wire.as_bytes(), size);
                assert_eq!(
                    (replies, end),
                    (
                        expected.clone().into_iter().map(Into::into).collect(),
                        Ok(true)
                    ),
                    "{wire:?}"
                );
            }
        }
    }

    #[test]
    fn a_status_is_parsed_only_if_its_class_matches_the_code() {
        let mut parser = ReplyParser::default();
        let reply = parser.parse(&mut &b"550 2.0.0 lies\r\n"[..]);
        assert_eq!(reply.map(|r| r.and_then(|r| r.status())), Ok(None));
        let reply = parser.parse(&mut &b"550-a\r\n550 5.1.1 b\r\n"[..]);
        let status = Some(EnhancedStatus::permanent(1, 1));
        assert_eq!(reply.map(|r| r.and_then(|r| r.status())), Ok(status));
    }

    #[test]
    fn input_that_is_not_a_reply_is_an_error() {
        for wire in [
            "hello\r\n",
            "\r\n",
            "25 ok\r\n",
            "2500 ok\r\n",
            "250_ok\r\n",
            "199 x\r\n",
            "600 x\r\n",
            "+50 x\r\n",
            " 250 ok\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
        ] {
            let (_, end) = parse(wire.as_bytes(), 3);
            assert!(matches!(end, Err(ReplyError::NotAReply(_))), "{wire:?}");
        }
        let (_, end) = parse(b"250-a\r\n550 b\r\n", 100);
        assert_eq!(
            end,
            Err(ReplyError::CodeChanged {
                first: 250,
                then: 550
            })
        );
    }

    #[test]
    fn an_incomplete_reply_is_not_returned() {
        for wire in ["2", "250 ok", "250 ok\r", "250-a\r\n", "250-a\r\n250 b"] {
            assert_eq!(parse(wire.as_bytes(), 2), (vec![], Ok(false)), "{wire:?}");
        }
    }

    #[test]
    fn the_length_of_lines_and_replies_is_limited() {
        let line = [b"250 ", "x".repeat(MAX_LINE).as_bytes()].concat();
        assert_eq!(parse(&line, 1000).1, Err(ReplyError::EndlessLine));
        let reply = "250-x\r\n".repeat(MAX_LINES + 1);
        assert_eq!(
            parse(reply.as_bytes(), 1000).1,
            Err(ReplyError::EndlessReply)
        );
        let long = format!("250-{0}\r\n250-{0}\r\n250 {0}\r\n", "y".repeat(1500));
        let (replies, end) = parse(long.as_bytes(), 999);
        assert_eq!(end, Ok(true));
        assert!(replies[0].len() < MAX_TEXT + 100, "{}", replies[0].len());
    }

    #[test]
    fn control_characters_and_bad_utf8_are_replaced() {
        let (replies, _) = parse(
            b"250 a\x1b[31m\0\xff\r\xc2\x85\xe2\x80\xa8\xe2\x80\xae\xc3\xa9\n",
            1,
        );
        let r = char::REPLACEMENT_CHARACTER;
        assert_eq!(replies, [format!("250 a{r}[31m{r}{r}{r}{r}{r}{r}é")]);
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_pieces(
            wire in proptest::collection::vec(prop_oneof![
                Just(b"250-".to_vec()), Just(b"250 ".to_vec()), Just(b"\r\n".to_vec()),
                Just(b"\n".to_vec()), Just(b"5.1.1 ".to_vec()), proptest::collection::vec(any::<u8>(), 0..20),
            ], 0..30),
            size in 1usize..50,
        ) {
            let wire = wire.concat();
            prop_assert_eq!(parse(&wire, size), parse(&wire, wire.len()));
        }
    }
}
