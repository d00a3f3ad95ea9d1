//! Breaks lines that are longer than mail allows.

use std::io::{self, Write};

/// The longest line in octets, without its end (RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6).
const LONGEST: usize = 998;
/// The largest number of octets of a character after its first one (RFC 3629 §3).
const CONTINUATION: usize = 3;
const END: &[u8] = b"\r\n";

/// Breaks long lines: after a blank if there is one, and never within a UTF-8 character.
#[derive(Debug, Default)]
pub(crate) struct Wrap {
    /// A line, or the part of one, that is not finished yet.
    line: Vec<u8>,
}

impl Wrap {
    /// Writes the octets that no longer change, and returns their number. Lines end with CR LF. A
    /// piece must not end between CR and LF.
    pub(crate) fn pass(&mut self, piece: &[u8], out: &mut impl Write) -> io::Result<u64> {
        let mut passed = 0;
        for part in piece.split_inclusive(|&octet| octet == b'\n') {
            self.line.extend_from_slice(part);
            let mut rest = self.line.as_slice();
            while rest.strip_suffix(END).unwrap_or(rest).len() > LONGEST {
                let (line, remainder) = rest.split_at(break_point(rest));
                out.write_all(line)?;
                out.write_all(END)?;
                passed += line.len() + END.len();
                rest = remainder;
            }
            let kept = if rest.ends_with(END) {
                out.write_all(rest)?;
                passed += rest.len();
                self.line.len()
            } else {
                self.line.len() - rest.len()
            };
            self.line.drain(..kept);
        }
        Ok(passed as u64)
    }
}

/// Returns where to break a line that is too long.
fn break_point(line: &[u8]) -> usize {
    let is_blank = |&octet: &u8| octet == b' ' || octet == b'\t';
    if let Some(blank) = line[..LONGEST].iter().rposition(is_blank) {
        return blank + 1;
    }
    let is_first = |&at: &usize| line[at] & 0xC0 != 0x80;
    // If no character begins within this many octets, the text is not UTF-8.
    let at = (LONGEST - CONTINUATION..=LONGEST).rev().find(is_first);
    at.unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrap(text: &[u8], size: usize) -> Vec<u8> {
        let (mut wrap, mut out, mut passed) = (Wrap::default(), Vec::new(), 0);
        let mut rest = text;
        while !rest.is_empty() {
            let mut end = size.min(rest.len());
            // No piece may end between CR and LF.
            end += usize::from(rest[..end].ends_with(b"\r"));
            passed += wrap.pass(&rest[..end], &mut out).expect("memory");
            rest = &rest[end..];
        }
        assert_eq!(passed, out.len() as u64);
        out
    }

    #[test]
    fn a_long_line_is_broken_after_a_blank_or_between_characters() {
        let a = |n| "a".repeat(n);
        for (text, expected) in [
            (a(998), a(998)),
            (a(999), format!("{}\r\na", a(998))),
            (a(2000), format!("{}\r\n{}\r\naaaa", a(998), a(998))),
            (
                format!("{} {}", a(500), a(600)),
                format!("{} \r\n{}", a(500), a(600)),
            ),
            (
                format!("{}ö{}", a(997), a(3)),
                format!("{}\r\nö{}", a(997), a(3)),
            ),
            (format!("{}öa", a(996)), format!("{}ö\r\na", a(996))),
        ] {
            for size in [1, 7, 5000] {
                let got = wrap(format!("{text}\r\n").as_bytes(), size);
                assert_eq!(String::from_utf8_lossy(&got), format!("{expected}\r\n"));
            }
        }
        let binary = [0x80; 1500];
        let got = wrap(&[&binary[..], END].concat(), 100);
        assert_eq!(got.len(), 1504);
    }

    proptest! {
        #[test]
        fn only_line_ends_are_added(
            lengths in proptest::collection::vec(0usize..2500, 0..5),
            size in 1usize..3000,
        ) {
            let lines: Vec<_> = lengths.iter().map(|&n| "aä b".chars().cycle().take(n)).collect();
            let text: String = lines.into_iter().map(|line| line.collect::<String>() + "\r\n").collect();
            let got = String::from_utf8(wrap(text.as_bytes(), size)).expect("whole characters");
            prop_assert!(got.split("\r\n").all(|line| line.len() <= LONGEST));
            prop_assert_eq!(got.replace("\r\n", ""), text.replace("\r\n", ""));
        }
    }
}
