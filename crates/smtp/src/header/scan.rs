//! Reads the header section while it streams past: where it ends, and how many Received fields it has.

use memchr::memchr;

const RECEIVED: &[u8] = b"received";

/// Follows the decoded octets of a message up to the end of its header section, in pieces of any
/// size.
///
/// It ends the section where [`fields`](super::fields) ends it: at an empty line, or at the first
/// line that cannot be a field (RFC 5322 §2.2). The scan stops at the exact octet that exceeds a
/// limit, so the result does not depend on how the octets are split.
#[derive(Debug)]
pub struct HeaderScan {
    position: Position,
    room: usize,
    hops_left: u32,
    fault: Option<HeaderFault>,
    /// Whether the first line was a field, or the empty line of a section without fields.
    has_begun: bool,
    /// Whether a field contains an octet beyond ASCII.
    is_utf8: bool,
}

/// A limit that a header section exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// More octets than allowed.
    TooBig,
    /// More Received fields than allowed (RFC 5321 §6.3).
    TooManyHops,
}

/// The position of the scan in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Before the first octet.
    Start,
    LineStart,
    /// In the name of a field. `length` octets have been read, which so far match `Received` or
    /// not.
    Name {
        length: usize,
        is_received: bool,
    },
    /// In the white space before the colon (RFC 5322 §4.5).
    BeforeColon {
        is_received: bool,
    },
    /// After the colon, or in a continuation line.
    Value,
    /// In the body.
    Ended,
}

impl HeaderScan {
    /// Makes a scan that allows `size` octets and `hops` Received fields.
    pub fn new(size: usize, hops: u32) -> Self {
        Self {
            position: Position::Start,
            room: size,
            hops_left: hops,
            fault: None,
            has_begun: false,
            is_utf8: false,
        }
    }

    /// Whether the body has begun.
    pub fn has_ended(&self) -> bool {
        self.position == Position::Ended
    }

    /// Whether the message has no header section, not even the empty line that would end it.
    pub fn is_missing(&self) -> bool {
        self.has_ended() && !self.has_begun
    }

    /// Whether a field contains characters beyond ASCII, which only SMTPUTF8 allows (RFC 6532
    /// §3.2).
    pub fn is_utf8(&self) -> bool {
        self.is_utf8
    }

    /// The first limit that was exceeded.
    pub fn fault(&self) -> Option<HeaderFault> {
        self.fault
    }

    /// Takes the next octets of the message.
    pub fn feed(&mut self, mut octets: &[u8]) {
        while let (None, false, Some(&octet)) = (self.fault, self.has_ended(), octets.first()) {
            let taken = match self.position {
                Position::Value => {
                    let taken = memchr(b'\n', octets).map_or(octets.len(), |end| {
                        self.position = Position::LineStart;
                        end + 1
                    });
                    self.is_utf8 |= !octets[..taken].is_ascii();
                    taken
                }
                position => {
                    self.position = self.step(position, octet);
                    1
                }
            };
            match self.room.checked_sub(taken) {
                Some(room) => self.room = room,
                None => self.fault = Some(HeaderFault::TooBig),
            }
            octets = &octets[taken..];
        }
    }

    fn step(&mut self, position: Position, octet: u8) -> Position {
        match (position, octet) {
            // A continuation of the field above.
            (Position::LineStart, b' ' | b'\t') => Position::Value,
            (Position::Start | Position::LineStart, b'!'..=b'9' | b';'..=b'~') => Position::Name {
                length: 1,
                is_received: continues_received(0, octet),
            },
            (
                Position::Name {
                    length,
                    is_received,
                },
                b'!'..=b'9' | b';'..=b'~',
            ) => Position::Name {
                length: length + 1,
                is_received: is_received && continues_received(length, octet),
            },
            (
                Position::Name {
                    length,
                    is_received,
                },
                b':' | b' ' | b'\t',
            ) => {
                let is_received = is_received && length == RECEIVED.len();
                self.step(Position::BeforeColon { is_received }, octet)
            }
            (Position::BeforeColon { .. }, b' ' | b'\t') => position,
            (Position::Start, b'\r') => {
                self.has_begun = true;
                Position::Ended
            }
            (Position::BeforeColon { is_received }, b':') => {
                self.has_begun = true;
                if is_received {
                    self.count_hop();
                }
                Position::Value
            }
            _ => Position::Ended,
        }
    }

    fn count_hop(&mut self) {
        match self.hops_left.checked_sub(1) {
            Some(left) => self.hops_left = left,
            None => self.fault = Some(HeaderFault::TooManyHops),
        }
    }
}

fn continues_received(index: usize, octet: u8) -> bool {
    RECEIVED.get(index) == Some(&octet.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOPS: u32 = 100;

    fn scan(text: &[u8], chunk: usize, size: usize, hops: u32) -> HeaderScan {
        let mut scan = HeaderScan::new(size, hops);
        text.chunks(chunk).for_each(|piece| scan.feed(piece));
        scan
    }

    #[test]
    fn only_received_fields_of_the_header_are_counted() {
        for (text, ended, received) in [
            ("Received: a\r\nRECEIVED:b\r\nreceived : c\r\n", false, 3),
            (
                "Received-SPF: a\r\nX-Received: b\r\nReceive: c\r\n",
                false,
                0,
            ),
            ("Received: a\r\n\tReceived: b\r\n Received: c\r\n", false, 1),
            ("Subject: s\r\n\r\nReceived: in the body\r\n", true, 0),
            ("Subject: Received: x\r\n", false, 0),
            ("From someone Fri Nov 20\r\nReceived: a\r\n", true, 0),
            ("no field\r\nReceived: a\r\n", true, 0),
            ("nofield\r\nReceived: a\r\n", true, 0),
            (" leading space\r\nReceived: a\r\n", true, 0),
            ("\r\nReceived: a\r\n", true, 0),
            (": a\r\nReceived: a\r\n", true, 0),
            ("", false, 0),
        ] {
            for chunk in 1..=text.len().max(1) {
                let scan = scan(text.as_bytes(), chunk, 1000, HOPS);
                let found = (scan.has_ended(), HOPS - scan.hops_left, scan.fault());
                assert_eq!(found, (ended, received, None), "{text:?}");
            }
        }
    }

    #[test]
    fn a_message_whose_first_line_is_not_a_field_has_no_header() {
        for (text, is_missing) in [
            ("hello world\r\n", true),
            ("hello\r\n", true),
            (" forged-folding by=evil\r\nSubject: s\r\n", true),
            ("\tby evil\r\n\r\n", true),
            (": a\r\n", true),
            ("\u{fc}: a\r\n", true),
            ("\r\nhello\r\n", false),
            ("Subject: s\r\n", false),
            ("Subject : s\r\n\r\nhello\r\n", false),
            ("Subject: s\r\nhello world\r\n", false),
            ("", false),
        ] {
            for chunk in 1..=text.len().max(1) {
                let scan = scan(text.as_bytes(), chunk, 1000, HOPS);
                assert_eq!(scan.is_missing(), is_missing, "{text:?}");
            }
        }
    }

    #[test]
    fn only_octets_of_a_field_make_a_header_utf8() {
        for (text, is_utf8) in [
            ("Subject: \u{fc}\r\n\r\n", true),
            ("Subject: s\r\n \u{fc}\r\n\r\n", true),
            ("Subject: s\r\n\r\n\u{fc}\r\n", false),
            ("Subject: s\r\n\u{fc}\r\n", false),
            ("\u{fc}\r\n", false),
        ] {
            for chunk in 1..=text.len() {
                let scan = scan(text.as_bytes(), chunk, 1000, HOPS);
                assert_eq!(scan.is_utf8(), is_utf8, "{text:?}");
            }
        }
    }

    #[test]
    fn the_first_fault_is_the_same_in_any_chunks() {
        let text = b"A: b\r\nReceived: a\r\nReceived: b\r\nB: c\r\n";
        for chunk in 1..=text.len() {
            for (size, hops, fault) in [
                (text.len(), 2, None),
                (text.len() - 1, 2, Some(HeaderFault::TooBig)),
                (text.len() - 1, 1, Some(HeaderFault::TooManyHops)),
                (10, 0, Some(HeaderFault::TooBig)),
            ] {
                assert_eq!(scan(text, chunk, size, hops).fault(), fault);
            }
        }
    }

    #[test]
    fn the_body_does_not_count_for_size_or_hops() {
        let text = b"A: b\r\n\r\nReceived: body\r\nReceived: body\r\n";
        for chunk in 1..=text.len() {
            let scan = scan(text, chunk, 8, 0);
            assert!(scan.has_ended() && scan.fault().is_none());
        }
    }
}
