//! The lines of a stream and what lies between them. Nothing of it is believed before its checksum.

use std::io::{self, BufRead, Read};

use relay_message::QueueId;

use super::{CHUNK, TITLE, sum};

/// Octets that a line may have.
const LONGEST_LINE: u64 = 100;
/// Octets that a record or a head may have: more than a message with the most recipients.
const LONGEST_PART: u64 = 64 << 20;

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Torn {
    #[error("it breaks off")]
    Short,
    #[error("it is no stream of a queue, or of a later version")]
    Title,
    #[error("it is damaged")]
    Line,
    #[error("it is damaged: message {0} does not have the checksum behind it")]
    Sum(QueueId),
    #[error("it cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for Torn {
    fn from(reason: io::Error) -> Self {
        match reason.kind() {
            io::ErrorKind::UnexpectedEof => Self::Short,
            _ => Self::Io(reason),
        }
    }
}

/// A line that is not a message's last.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Message(Lengths),
    End { messages: u64, damaged: u64 },
}

/// A message that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) id: QueueId,
    pub(super) record: u64,
    pub(super) head: u64,
    pub(super) body: u64,
}

/// Reads a stream from its beginning.
pub(super) struct Reader<R> {
    input: R,
    checksum: crc32fast::Hasher,
    line: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            checksum: crc32fast::Hasher::new(),
            line: Vec::new(),
        }
    }

    /// The first line of a stream; false if there is none more.
    pub(super) fn begins(&mut self) -> Result<bool, Torn> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.line() {
            Ok(line) if line == TITLE.trim_end() => Ok(true),
            Ok(_) | Err(Torn::Line | Torn::Short) => Err(Torn::Title),
            Err(reason) => Err(reason),
        }
    }

    /// What comes next.
    pub(super) fn next(&mut self) -> Result<Line, Torn> {
        let line = self.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        let parsed = match words[..] {
            ["message", id, record, head, body] => message(id, [record, head, body]),
            ["end", messages, damaged] => number(messages)
                .zip(number(damaged))
                .map(|(messages, damaged)| Line::End { messages, damaged }),
            _ => None,
        };
        let parsed = parsed.ok_or(Torn::Line)?;
        self.checksum = crc32fast::Hasher::new();
        self.checksum.update(&self.line);
        Ok(parsed)
    }

    /// A part that is held in memory; no more than there is.
    pub(super) fn part(&mut self, length: u64) -> Result<Vec<u8>, Torn> {
        if length > LONGEST_PART {
            return Err(Torn::Line);
        }
        let mut part = Vec::new();
        let read = self.input.by_ref().take(length).read_to_end(&mut part)?;
        if (read as u64) < length {
            return Err(Torn::Short);
        }
        self.checksum.update(&part);
        Ok(part)
    }

    /// Of a body that has `left` octets, the next ones.
    pub(super) fn chunk(&mut self, left: u64) -> Result<Vec<u8>, Torn> {
        self.part(left.min(CHUNK as u64))
    }

    /// What has been read of the message must have this checksum.
    pub(super) fn check(&mut self, id: QueueId) -> Result<(), Torn> {
        let expected = self.checksum.clone().finalize();
        let line = self.line()?;
        if line != sum(expected).trim_end() {
            return Err(Torn::Sum(id));
        }
        Ok(())
    }

    /// A line without its end.
    fn line(&mut self) -> Result<&str, Torn> {
        self.line.clear();
        let input = self.input.by_ref();
        let read = input.take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
        match self.line.strip_suffix(b"\n") {
            Some(line) => str::from_utf8(line).map_err(|_| Torn::Line),
            None if (read as u64) < LONGEST_LINE => Err(Torn::Short),
            None => Err(Torn::Line),
        }
    }
}

fn message(id: &str, lengths: [&str; 3]) -> Option<Line> {
    let [record, head, body] = lengths.map(number);
    Some(Line::Message(Lengths {
        id: id.parse().ok()?,
        record: record?,
        head: head?,
        body: body?,
    }))
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
