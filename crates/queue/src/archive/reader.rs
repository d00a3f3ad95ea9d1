//! Reads the lines of a stream and the messages between them. Data counts only after its checksum.

use std::io::{self, BufRead, Read};

use relay_message::QueueId;

use super::{CHUNK, TITLE, sum};

/// The most octets of a line.
const LONGEST_LINE: u64 = 100;
/// The most octets of a record or a head: more than a message with the most recipients has.
const LONGEST_PART: u64 = 64 << 20;

/// Why the rest of a stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Torn {
    #[error("it breaks off")]
    Short,
    #[error("it is not a queue stream, or it is from a later version of relayd")]
    Title,
    #[error("it is damaged")]
    Line,
    #[error("it is damaged: message {0} does not match its checksum")]
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

/// A line of the stream, except the checksum of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StreamLine {
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

    /// Reads the first line of a stream. Returns false if there is no further stream.
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

    /// Reads the next line.
    pub(super) fn next(&mut self) -> Result<StreamLine, Torn> {
        let line = self.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        let parsed = match words[..] {
            ["message", id, record, head, body] => message(id, [record, head, body]),
            ["end", messages, damaged] => number(messages)
                .zip(number(damaged))
                .map(|(messages, damaged)| StreamLine::End { messages, damaged }),
            _ => None,
        };
        let parsed = parsed.ok_or(Torn::Line)?;
        self.checksum = crc32fast::Hasher::new();
        self.checksum.update(&self.line);
        Ok(parsed)
    }

    /// Reads a part of this length into memory. This allocates no more than the input has.
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

    /// Reads the next octets of a body that has `left` octets left.
    pub(super) fn chunk(&mut self, left: u64) -> Result<Vec<u8>, Torn> {
        self.part(left.min(CHUNK as u64))
    }

    /// Reads the checksum of the message and compares it with the data.
    pub(super) fn check(&mut self, id: QueueId) -> Result<(), Torn> {
        let expected = self.checksum.clone().finalize();
        let line = self.line()?;
        if line != sum(expected).trim_end() {
            return Err(Torn::Sum(id));
        }
        Ok(())
    }

    /// Reads a line without its line end.
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

fn message(id: &str, lengths: [&str; 3]) -> Option<StreamLine> {
    let [record, head, body] = lengths.map(number);
    Some(StreamLine::Message(Lengths {
        id: id.parse().ok()?,
        record: record?,
        head: head?,
        body: body?,
    }))
}

/// Parses a number of digits only, without a sign.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
