//! Parses the addresses in the value of a header field, with their positions (RFC 5322 §3.4, §4.4).
//!
//! All addresses in header fields are parsed here. The parser follows comments, folding white
//! space, quoted strings, groups, source routes and the obsolete forms. It never guesses: it
//! reports an element that is not a valid address, so that the caller can refuse it.

mod candidate;
#[cfg(test)]
mod tests;
mod tokens;

use std::ops::Range;

use candidate::Candidate;
use tokens::{Kind, Tokens, is_of_word, words};

/// An address and its position in the field's value, without the display name and angle brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The whole address, with the source route that may precede it.
    pub whole: Range<usize>,
    /// The part before the `@`, with its quotes and with any comments inside it.
    pub local_part: Range<usize>,
    /// The part after the `@`; `None` for a bare address.
    pub domain: Option<Range<usize>>,
}

impl Address {
    /// The local part without comments and blanks, quoted only where it must be (RFC 5321 §4.1.2).
    ///
    /// `None` if it is not UTF-8. `value` is the value that the address was found in.
    pub fn local_part_text(&self, value: &[u8]) -> Option<String> {
        let written = &value[self.local_part.clone()];
        let plain = String::from_utf8(words(written)).ok()?;
        let is_dot_string = !plain.is_empty()
            && plain.bytes().all(is_of_word)
            && plain.split('.').all(|atom| !atom.is_empty());
        // A local part that needs quotes and has none, such as `a..b`, stays invalid.
        let keeps_quotes = !is_dot_string && written.contains(&b'"');
        Some(if keeps_quotes { quoted(&plain) } else { plain })
    }

    /// The domain without comments and blanks; `None` if there is none or it is not UTF-8.
    pub fn domain_text(&self, value: &[u8]) -> Option<String> {
        let domain = &value[self.domain.clone()?];
        if domain.starts_with(b"[") {
            return Some(str::from_utf8(domain).ok()?.to_owned());
        }
        String::from_utf8(words(domain)).ok()
    }

    /// Whether a bare address is more likely the rest of a name with a comma in it, such as `Inc.`.
    fn is_cut_name(&self, value: &[u8]) -> bool {
        let local_part = &value[self.local_part.clone()];
        self.domain.is_none() && (local_part.starts_with(b".") || local_part.ends_with(b"."))
    }
}

/// A local part as a quoted string (RFC 5321 §4.1.2).
pub fn quoted(local_part: &str) -> String {
    let escaped = local_part.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// One element of an address list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// An address, complete or bare.
    Address(Address),
    /// A name without an address: `Acme Ltd`, or the part of a name before an unquoted comma.
    Name(Range<usize>),
    /// The empty address `<>`, with or without a name.
    Null(Range<usize>),
    /// Anything that is not an address, such as `a@`, `a@b@c` or a quoted string that is not
    /// closed.
    Unreadable(Range<usize>),
}

/// Returns the elements of an address list, in order. Empty ones (RFC 5322 §4.4) are left out.
pub fn elements(value: &[u8]) -> impl Iterator<Item = Element> {
    let mut parser = Parser {
        value,
        tokens: Tokens::new(value),
        in_group: false,
    };
    std::iter::from_fn(move || {
        loop {
            match parser.element() {
                Next::Element(element) => return Some(element),
                Next::Empty => {}
                Next::End => return None,
            }
        }
    })
}

/// Returns the addresses among the [`elements`] of a field's value.
pub fn addresses(value: &[u8]) -> impl Iterator<Item = Address> {
    elements(value).filter_map(|element| match element {
        Element::Address(address) => Some(address),
        Element::Name(_) | Element::Null(_) | Element::Unreadable(_) => None,
    })
}

/// An address list that is being parsed.
struct Parser<'a> {
    value: &'a [u8],
    tokens: Tokens<'a>,
    in_group: bool,
}

/// The next part of an address list.
enum Next {
    Element(Element),
    /// An empty element between two commas.
    Empty,
    End,
}

/// The content of angle brackets.
enum Angle {
    Address(Address),
    Null,
    Broken,
}

impl Parser<'_> {
    /// Reads the next element, up to its comma or the end of a group.
    fn element(&mut self) -> Next {
        let mut plain = Candidate::default();
        let mut angle: Option<Angle> = None;
        let mut whole: Option<Range<usize>> = None;
        let mut is_end = true;
        while let Some(token) = self.tokens.token() {
            is_end = false;
            match token.kind {
                Kind::Mark(b',') => break,
                Kind::Mark(b';') => {
                    self.in_group = false;
                    break;
                }
                Kind::Mark(b':') if angle.is_none() && plain.is_phrase() && !self.in_group => {
                    self.in_group = true;
                    (plain, whole) = (Candidate::default(), None);
                    continue;
                }
                Kind::Mark(b'<') if angle.is_none() => angle = Some(self.angle()),
                // There is text after the angle brackets, so it is unclear which of the two is the
                // address.
                _ if angle.is_some() => angle = Some(Angle::Broken),
                _ => plain = plain.push(&token, self.value),
            }
            let start = whole.map_or(token.place.start, |whole| whole.start);
            whole = Some(start..self.tokens.position());
        }
        let Some(whole) = whole else {
            return if is_end { Next::End } else { Next::Empty };
        };
        Next::Element(match angle {
            None => plain.element(whole, self.value),
            Some(Angle::Address(address)) => Element::Address(address),
            Some(Angle::Null) => Element::Null(whole),
            Some(Angle::Broken) => Element::Unreadable(whole),
        })
    }

    /// Reads from after `<` up to and including `>`.
    fn angle(&mut self) -> Angle {
        let mut inside = Candidate::default();
        let mut route = None;
        while let Some(token) = self.tokens.token() {
            match (token.kind, &inside) {
                (Kind::Mark(b'>'), Candidate::Empty) if route.is_none() => return Angle::Null,
                (Kind::Mark(b'>'), _) => {
                    let Some(address) = inside.address() else {
                        return Angle::Broken;
                    };
                    let start = route.unwrap_or(address.whole.start);
                    return Angle::Address(Address {
                        whole: start..address.whole.end,
                        ..address
                    });
                }
                (Kind::Mark(b'@'), Candidate::Empty) if route.is_none() => {
                    route = Some(token.place.start);
                    if self.skip_route().is_none() {
                        inside = Candidate::Broken;
                    }
                }
                _ => inside = inside.push(&token, self.value),
            }
        }
        Angle::Broken
    }

    /// Skips from after the first `@` of `@a.example,@b.example:` up to and including the colon.
    fn skip_route(&mut self) -> Option<()> {
        loop {
            match self.tokens.token()?.kind {
                Kind::Mark(b':') => return Some(()),
                Kind::Mark(b'@' | b',') | Kind::Word | Kind::Literal => {}
                Kind::Mark(_) | Kind::Quoted | Kind::Unclosed => return None,
            }
        }
    }
}
