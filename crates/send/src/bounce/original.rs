//! The part of the original message that a report returns.

use super::foreign_text::{Charset, MAX_LINE, printable};

/// Octets of the original's header section that go into a report.
pub const MAX_HEADERS: usize = 16 * 1024;
/// Octets of an original that goes into a report whole.
pub const MAX_WHOLE: usize = 64 * 1024;

/// The part of the message that is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Original<'a> {
    /// The beginning. Only its header section is quoted.
    Start(&'a [u8]),
    /// The whole message, at most [`MAX_WHOLE`] octets.
    Whole(&'a [u8]),
}

/// A part of a report: its type, and its octets.
pub(super) type Part = (&'static str, Vec<u8>);

impl Original<'_> {
    pub(super) fn part(self, charset: Charset) -> Part {
        match self {
            Self::Whole(octets) if header(octets).is_ascii() => ("message/rfc822", octets.into()),
            Self::Whole(octets) => ("message/global", octets.into()),
            Self::Start(octets) => quoted(octets, charset),
        }
    }
}

/// Returns the header section, without the empty line behind it.
fn header(message: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(message, b"\r\n\r\n");
    end.map_or(message, |end| &message[..end + 2])
}

/// Quotes whole lines of the header section, as many as fit.
fn quoted(message: &[u8], charset: Charset) -> Part {
    let header = header(message);
    let is_text = charset == Charset::Utf8 && std::str::from_utf8(header).is_ok();
    let mut text = String::new();
    for line in header.split_inclusive(|&c| c == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || text.len() + line.len() + 2 > MAX_HEADERS {
            break;
        }
        match std::str::from_utf8(line) {
            Ok(line) if is_text => text.extend(shortened(line).chars().map(visible)),
            _ => text.extend(line.iter().take(MAX_LINE).map(|&c| printable(c.into()))),
        }
        text.push_str("\r\n");
    }
    let content_type = if text.is_ascii() {
        "text/rfc822-headers"
    } else {
        "message/global-headers"
    };
    (content_type, text.into())
}

fn visible(c: char) -> char {
    if c.is_ascii() { printable(c) } else { c }
}

fn shortened(line: &str) -> &str {
    let end = (0..=MAX_LINE).rev().find(|&end| line.is_char_boundary(end));
    line.get(..end.unwrap_or(0)).unwrap_or(line)
}
