//! A look at the header section while it passes: where it ends, and how often it was received.

use memchr::memchr;

const RECEIVED: &[u8] = b"received";

/// Follows the decoded octets of a message up to the end of its header section, in any chunks.
///
/// The section ends at an empty line or at the first line that cannot be a field (RFC 5322 §2.2),
/// so that a text without any header is a body from the start. The scan stops at the very octet
/// that is too much, so that it finds the same fault however the octets were cut.
#[derive(Debug)]
pub(super) struct HeaderScan {
    place: Place,
    room: usize,
    hops_left: u32,
    fault: Option<HeaderFault>,
    /// Whether the first line was a field, or the empty line behind a section without any.
    has_begun: bool,
    /// Whether an octet beyond ASCII stands in a field.
    is_utf8: bool,
}

/// What is wrong with a header section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// More octets than allowed.
    TooBig,
    /// More Received fields than allowed (RFC 5321 §6.3).
    TooManyHops,
}

/// Where in a line the scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first octet.
    Start,
    LineStart,
    /// In a field's name: so many octets of it read, all of them those of `Received` or not.
    Name {
        length: usize,
        is_received: bool,
    },
    /// In the white space that may stand before the colon (RFC 5322 §4.5).
    BeforeColon {
        is_received: bool,
    },
    /// Behind the colon, or in a continuation line.
    Value,
    /// In the body.
    Ended,
}

impl HeaderScan {
    /// A scan that finds fault with more than `size` octets or `hops` Received fields.
    pub(super) fn new(size: usize, hops: u32) -> Self {
        Self {
            place: Place::Start,
            room: size,
            hops_left: hops,
            fault: None,
            has_begun: false,
            is_utf8: false,
        }
    }

    /// Whether the body has begun.
    pub(super) fn has_ended(&self) -> bool {
        self.place == Place::Ended
    }

    /// Whether the message is a body from its first octet, without even the empty line before it.
    pub(super) fn is_missing(&self) -> bool {
        self.has_ended() && !self.has_begun
    }

    /// Whether a field holds more than ASCII, which only SMTPUTF8 allows (RFC 6532 §3.2).
    pub(super) fn is_utf8(&self) -> bool {
        self.is_utf8
    }

    /// The first fault.
    pub(super) fn fault(&self) -> Option<HeaderFault> {
        self.fault
    }

    /// The next octets of the message.
    pub(super) fn feed(&mut self, mut octets: &[u8]) {
        while let (None, false, Some(&octet)) = (self.fault, self.has_ended(), octets.first()) {
            let taken = match self.place {
                Place::Value => {
                    let taken = memchr(b'\n', octets).map_or(octets.len(), |end| {
                        self.place = Place::LineStart;
                        end + 1
                    });
                    self.is_utf8 |= !octets[..taken].is_ascii();
                    taken
                }
                place => {
                    self.place = self.step(place, octet);
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

    fn step(&mut self, place: Place, octet: u8) -> Place {
        match (place, octet) {
            // A continuation of the field above.
            (Place::LineStart, b' ' | b'\t') => Place::Value,
            (Place::Start | Place::LineStart, b'!'..=b'9' | b';'..=b'~') => Place::Name {
                length: 1,
                is_received: continues_received(0, octet),
            },
            (
                Place::Name {
                    length,
                    is_received,
                },
                b'!'..=b'9' | b';'..=b'~',
            ) => Place::Name {
                length: length + 1,
                is_received: is_received && continues_received(length, octet),
            },
            (
                Place::Name {
                    length,
                    is_received,
                },
                b':' | b' ' | b'\t',
            ) => {
                let is_received = is_received && length == RECEIVED.len();
                self.step(Place::BeforeColon { is_received }, octet)
            }
            (Place::BeforeColon { .. }, b' ' | b'\t') => place,
            (Place::Start, b'\r') => {
                self.has_begun = true;
                Place::Ended
            }
            (Place::BeforeColon { is_received }, b':') => {
                self.has_begun = true;
                if is_received {
                    self.count_hop();
                }
                Place::Value
            }
            _ => Place::Ended,
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
    fn a_text_whose_first_line_is_no_field_has_no_header() {
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
    fn only_octets_of_a_field_make_a_header_of_utf8() {
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
    fn the_body_counts_neither_for_size_nor_for_hops() {
        let text = b"A: b\r\n\r\nReceived: body\r\nReceived: body\r\n";
        for chunk in 1..=text.len() {
            let scan = scan(text, chunk, 8, 0);
            assert!(scan.has_ended() && scan.fault().is_none());
        }
    }
}
