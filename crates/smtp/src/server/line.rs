//! Splits a stream of bytes into command lines, in bounded memory.

use std::fmt;

use memchr::memchr;
use zeroize::Zeroizing;

/// The most octets of a command line, including CR LF: RFC 5321 §4.5.3.1.4, plus the octets that
/// the offered extensions add to MAIL: SIZE (RFC 1870 §3), BODY (RFC 6152 §2), SMTPUTF8 (RFC 6531
/// §3.2), AUTH (RFC 4954 §3), RET and ENVID with a blank before each (RFC 3461 §4.3, §4.4). They
/// add less to RCPT.
pub(super) const LIMIT: usize = 512 + 26 + 17 + 10 + 500 + 9 + 107;

/// The most octets of a line of an AUTH exchange, or of an AUTH command with an initial response
/// (RFC 4954 §4).
pub(super) const AUTH_LIMIT: usize = 12288;

/// The kind of the next line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A command.
    Command,
    /// A response of an AUTH exchange.
    Response,
}

/// Why a line is not a command. Its content does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineError {
    /// It is longer than [`LIMIT`]. The rest was not kept.
    TooLong,
    /// It is a line of an AUTH exchange longer than [`AUTH_LIMIT`].
    AuthTooLong,
    /// It ends with LF alone. Only CR LF ends a command (RFC 5321 §2.3.8).
    BareNewline,
}

/// Splits input into lines. It holds memory only for an incomplete line and wipes it, because a
/// line may contain a password.
#[derive(Default)]
pub(super) struct LineReader {
    partial: Zeroizing<Vec<u8>>,
    /// The incomplete line is already too long.
    fault: Option<LineError>,
}

impl LineReader {
    /// Consumes octets of `input` up to the end of the line. If the line is complete, returns the
    /// result of `parse` for the line without CR LF.
    pub(super) fn read<T>(
        &mut self,
        input: &[u8],
        kind: Kind,
        parse: impl FnOnce(&[u8]) -> T,
    ) -> (usize, Option<Result<T, LineError>>) {
        let Some(end) = memchr(b'\n', input) else {
            self.keep(input, kind);
            return (input.len(), None);
        };
        let piece = &input[..=end];
        let line = if self.partial.is_empty() && self.fault.is_none() {
            cut(piece, kind, parse)
        } else {
            self.keep(piece, kind);
            let line = std::mem::take(&mut self.partial);
            match self.fault.take() {
                Some(fault) => Err(fault),
                None => cut(&line, kind, parse),
            }
        };
        (piece.len(), Some(line))
    }

    fn keep(&mut self, piece: &[u8], kind: Kind) {
        if self.fault.is_some() {
            return;
        }
        let octets = self.partial.iter().chain(piece).copied();
        match check(octets, self.partial.len() + piece.len(), kind) {
            Ok(()) => self.partial.extend_from_slice(piece),
            Err(fault) => {
                self.fault = Some(fault);
                self.partial = Zeroizing::default();
            }
        }
    }
}

/// Hides the line, because it may contain a password.
impl fmt::Debug for LineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReader")
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

fn cut<T>(line: &[u8], kind: Kind, parse: impl FnOnce(&[u8]) -> T) -> Result<T, LineError> {
    check(line.iter().copied(), line.len(), kind)?;
    line.strip_suffix(b"\r\n")
        .map(parse)
        .ok_or(LineError::BareNewline)
}

/// Whether a line that begins like this may have this length.
fn check(octets: impl Iterator<Item = u8>, length: usize, kind: Kind) -> Result<(), LineError> {
    const AUTH: [u8; 5] = *b"AUTH ";
    if length <= LIMIT {
        return Ok(());
    }
    let start = octets
        .take(AUTH.len())
        .map(|octet| octet.to_ascii_uppercase());
    if kind == Kind::Command && !start.eq(AUTH) {
        Err(LineError::TooLong)
    } else if length > AUTH_LIMIT {
        Err(LineError::AuthTooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], chunk: usize) -> Vec<Result<Vec<u8>, LineError>> {
        let mut reader = LineReader::default();
        let mut found = Vec::new();
        for mut rest in input.chunks(chunk) {
            while !rest.is_empty() {
                let (consumed, line) = reader.read(rest, Kind::Command, <[u8]>::to_vec);
                found.extend(line);
                rest = &rest[consumed..];
                assert!(reader.partial.len() <= LIMIT);
            }
        }
        found
    }

    #[test]
    fn only_cr_lf_ends_a_line() {
        let input = b"NOOP\r\nA\rB\r\n\r\nBARE\nRSET\r\nrest";
        for chunk in 1..=input.len() {
            assert_eq!(
                lines(input, chunk),
                [
                    Ok(b"NOOP".to_vec()),
                    Ok(b"A\rB".to_vec()),
                    Ok(Vec::new()),
                    Err(LineError::BareNewline),
                    Ok(b"RSET".to_vec()),
                ]
            );
        }
    }

    #[test]
    fn a_line_at_the_limit_is_read_and_a_longer_one_is_discarded() {
        let at = [vec![b'a'; LIMIT - 2], b"\r\n".to_vec()].concat();
        let beyond = [vec![b'b'; LIMIT - 1], b"\r\n".to_vec()].concat();
        let endless = [vec![b'c'; 100 * LIMIT], b"\r\nNOOP\r\n".to_vec()].concat();
        let input = [at, beyond, endless].concat();
        for chunk in [1, 7, LIMIT - 1, LIMIT, LIMIT + 1, input.len()] {
            assert_eq!(
                lines(&input, chunk),
                [
                    Ok(vec![b'a'; LIMIT - 2]),
                    Err(LineError::TooLong),
                    Err(LineError::TooLong),
                    Ok(b"NOOP".to_vec()),
                ]
            );
        }
    }

    #[test]
    fn an_idle_reader_holds_no_memory() {
        let mut reader = LineReader::default();
        reader.read(b"NO", Kind::Command, <[u8]>::to_vec);
        reader.read(b"OP\r\n", Kind::Command, <[u8]>::to_vec);
        reader.read(&[b'x'; 10 * LIMIT], Kind::Command, <[u8]>::to_vec);
        assert_eq!(reader.partial.capacity(), 0);
    }
}
