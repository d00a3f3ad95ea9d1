//! Splits the value of a header field into tokens (RFC 5322 §3.2), without comments and folds.

use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) place: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Atoms and the dots between them.
    Word,
    Quoted,
    /// `[192.0.2.1]`
    Literal,
    /// A special octet (RFC 5322 §3.2.3), or one that is not allowed.
    Mark(u8),
    /// A quoted string, literal or comment that is not closed.
    Unclosed,
}

/// The tokens of a value that have not been read yet.
pub(super) struct Tokens<'a> {
    value: &'a [u8],
    position: usize,
}

impl<'a> Tokens<'a> {
    /// Begins at the front of `value`.
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self { value, position: 0 }
    }

    /// Returns the index after the last token.
    pub(super) fn position(&self) -> usize {
        self.position.min(self.value.len())
    }

    /// Returns the next token. Blanks, folds and comments are skipped.
    pub(super) fn token(&mut self) -> Option<Token> {
        let start = self.position;
        if !self.skip_blanks() {
            return Some(Token {
                kind: Kind::Unclosed,
                place: start..self.value.len(),
            });
        }
        let start = self.position;
        let kind = match *self.value.get(start)? {
            b'"' => self.enclosed(b'"', Kind::Quoted),
            b'[' => self.enclosed(b']', Kind::Literal),
            octet if is_of_word(octet) => {
                let rest = &self.value[start..];
                let length = rest.iter().position(|&octet| !is_of_word(octet));
                self.position += length.unwrap_or(rest.len());
                Kind::Word
            }
            octet => {
                self.position += 1;
                Kind::Mark(octet)
            }
        };
        Some(Token {
            kind,
            place: start..self.position,
        })
    }

    /// Reads from an opening octet to the closing one. A backslash escapes the next octet.
    fn enclosed(&mut self, close: u8, kind: Kind) -> Kind {
        self.position += 1;
        while let Some(&octet) = self.value.get(self.position) {
            self.position += 1;
            match octet {
                b'\\' => self.position += 1,
                octet if octet == close => return kind,
                _ => {}
            }
        }
        self.position = self.value.len();
        Kind::Unclosed
    }

    /// Skips blanks and comments, which nest (RFC 5322 §3.2.2). Returns false for a comment that is
    /// not closed; it takes the rest of the value.
    fn skip_blanks(&mut self) -> bool {
        let mut depth = 0_usize;
        while let Some(&octet) = self.value.get(self.position) {
            match octet {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.position += 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return true,
            }
            self.position += 1;
        }
        self.position = self.value.len();
        depth == 0
    }
}

/// Joins the words of a local part or domain, without quotes, blanks and comments.
pub(super) fn words(octets: &[u8]) -> Vec<u8> {
    let mut tokens = Tokens::new(octets);
    let mut joined = Vec::with_capacity(octets.len());
    while let Some(token) = tokens.token() {
        let text = &octets[token.place];
        match token.kind {
            Kind::Quoted => unquote(&text[1..text.len() - 1], &mut joined),
            _ => joined.extend_from_slice(text),
        }
    }
    joined
}

/// Appends the content of a quoted string (RFC 5322 §3.2.4), without its backslashes and line ends.
fn unquote(content: &[u8], out: &mut Vec<u8>) {
    let mut octets = content.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'\\' => out.extend(octets.next()),
            b'\r' | b'\n' => {}
            octet => out.push(octet),
        }
    }
}

/// RFC 5322 §3.2.3 `atext` and the dot; RFC 6532 §3.2 for octets beyond ASCII.
pub(super) fn is_of_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || !octet.is_ascii() || b"!#$%&'*+-/=?^_`{|}~.".contains(&octet)
}
