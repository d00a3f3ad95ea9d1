//! Parses the addresses in the value of a header field, with their positions (RFC 5322 §3.4, §4.4).
//!
//! All addresses in header fields are parsed here. The parser follows comments, folding white
//! space, quoted strings, groups, source routes and the obsolete forms. It never guesses: it
//! reports an element that is not a valid address, so that the caller can refuse it.

use std::ops::Range;

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
}

impl Address {
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
    let mut tokens = Tokens {
        value,
        position: 0,
        in_group: false,
    };
    std::iter::from_fn(move || {
        loop {
            match tokens.element() {
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

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    kind: Kind,
    place: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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

struct Tokens<'a> {
    value: &'a [u8],
    position: usize,
    in_group: bool,
}

/// The meaning of the tokens of an element so far.
#[derive(Debug, Clone, Default)]
enum Candidate {
    #[default]
    Empty,
    /// Words joined by dots (`local-part`, `obs-local-part`).
    Local {
        place: Range<usize>,
        ends_in_dot: bool,
    },
    /// Words that are not joined: a phrase.
    Phrase,
    /// A local part and the `@` after it.
    At { local: Range<usize> },
    Domain {
        local: Range<usize>,
        place: Range<usize>,
        /// `None` after a literal, which nothing can follow.
        ends_in_dot: Option<bool>,
    },
    /// A sequence that RFC 5322 does not allow.
    Broken,
}

impl Candidate {
    fn push(self, token: &Token, value: &[u8]) -> Self {
        let octets = &value[token.place.clone()];
        let is_word = matches!(token.kind, Kind::Word | Kind::Quoted);
        let starts_with_dot = token.kind == Kind::Word && octets.starts_with(b".");
        let ends_with_dot = token.kind == Kind::Word && octets.ends_with(b".");
        match self {
            Self::Empty if is_word => Self::Local {
                place: token.place.clone(),
                ends_in_dot: ends_with_dot,
            },
            Self::Local { place, ends_in_dot } if is_word && ends_in_dot != starts_with_dot => {
                Self::Local {
                    place: place.start..token.place.end,
                    ends_in_dot: ends_with_dot,
                }
            }
            Self::Local { .. } | Self::Phrase if is_word => Self::Phrase,
            Self::Local { place, .. } if token.kind == Kind::Mark(b'@') => {
                Self::At { local: place }
            }
            Self::At { local } if token.kind == Kind::Word => Self::Domain {
                local,
                place: token.place.clone(),
                ends_in_dot: Some(ends_with_dot),
            },
            Self::At { local } if token.kind == Kind::Literal => Self::Domain {
                local,
                place: token.place.clone(),
                ends_in_dot: None,
            },
            Self::Domain {
                local,
                place,
                ends_in_dot: Some(ends_in_dot),
            } if token.kind == Kind::Word && ends_in_dot != starts_with_dot => Self::Domain {
                local,
                place: place.start..token.place.end,
                ends_in_dot: Some(ends_with_dot),
            },
            _ => Self::Broken,
        }
    }

    fn is_phrase(&self) -> bool {
        matches!(self, Self::Local { .. } | Self::Phrase)
    }

    fn address(self) -> Option<Address> {
        match self {
            Self::Local { place, .. } => Some(Address {
                whole: place.clone(),
                local_part: place,
                domain: None,
            }),
            Self::Domain { local, place, .. } => Some(Address {
                whole: local.start..place.end,
                local_part: local,
                domain: Some(place),
            }),
            Self::Empty | Self::Phrase | Self::At { .. } | Self::Broken => None,
        }
    }

    /// Returns the element that these tokens form without angle brackets.
    fn element(self, whole: Range<usize>, value: &[u8]) -> Element {
        if let Self::Phrase = self {
            return Element::Name(whole);
        }
        match self.address() {
            Some(address) if address.is_cut_name(value) => Element::Name(whole),
            Some(address) => Element::Address(address),
            None => Element::Unreadable(whole),
        }
    }
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

impl Tokens<'_> {
    /// Reads the next element, up to its comma or the end of a group.
    fn element(&mut self) -> Next {
        let mut plain = Candidate::default();
        let mut angle: Option<Angle> = None;
        let mut whole: Option<Range<usize>> = None;
        let mut is_end = true;
        while let Some(token) = self.token() {
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
            whole = Some(start..self.position.min(self.value.len()));
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
        while let Some(token) = self.token() {
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
            match self.token()?.kind {
                Kind::Mark(b':') => return Some(()),
                Kind::Mark(b'@' | b',') | Kind::Word | Kind::Literal => {}
                Kind::Mark(_) | Kind::Quoted | Kind::Unclosed => return None,
            }
        }
    }

    /// Returns the next token. Blanks, folds and comments are skipped.
    fn token(&mut self) -> Option<Token> {
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
fn words(octets: &[u8]) -> Vec<u8> {
    let mut tokens = Tokens {
        value: octets,
        position: 0,
        in_group: false,
    };
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
fn is_of_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || !octet.is_ascii() || b"!#$%&'*+-/=?^_`{|}~.".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found<'a> = (&'a str, &'a str, Option<&'a str>);

    fn found(value: &str) -> Vec<Found<'_>> {
        addresses(value.as_bytes())
            .map(|address| {
                let domain = address.domain.map(|domain| &value[domain]);
                (&value[address.whole], &value[address.local_part], domain)
            })
            .collect()
    }

    #[test]
    fn addresses_are_found_with_their_positions() {
        let full = |whole, local, domain| (whole, local, Some(domain));
        let bare = |local| (local, local, None);
        let ab = full("a@b.test", "a", "b.test");
        for (value, expected) in [
            ("a@b.test", &[ab][..]),
            (" a@b.test\r\n", &[ab]),
            ("<a@b.test>", &[ab]),
            ("A B <a@b.test>", &[ab]),
            ("\"x@y.test, <z>\" <a@b.test>", &[ab]),
            ("\"q\\\" <x@y.test>\" <a@b.test>", &[ab]),
            ("a@b.test (x@y.test)", &[ab]),
            ("(x@y.test) a@b.test", &[ab]),
            ("(a (b) \\) c) <a@b.test>", &[ab]),
            ("=?utf-8?q?x=40y=2Etest?= <a@b.test>", &[ab]),
            ("\r\n A\r\n\t<a@b.test>\r\n", &[ab]),
            (
                "a (x) @ (y) b.test",
                &[full("a (x) @ (y) b.test", "a", "b.test")],
            ),
            // RFC 5322 §4.4: obsolete local parts and domains.
            (
                "a . \"b\" (x) @ b . test",
                &[full("a . \"b\" (x) @ b . test", "a . \"b\"", "b . test")],
            ),
            ("Acme, Inc. <a@b.test>", &[bare("Acme"), ab]),
            ("a@b.test,, root", &[ab, bare("root")]),
            (
                "root, A <toor>, a@b.test",
                &[bare("root"), bare("toor"), ab],
            ),
            (
                "team: a@b.test, root;, toor",
                &[ab, bare("root"), bare("toor")],
            ),
            ("nobody:;", &[]),
            ("nobody:; root", &[bare("root")]),
            (
                "\"a b\"@b.test",
                &[full("\"a b\"@b.test", "\"a b\"", "b.test")],
            ),
            ("\"a b\"", &[bare("\"a b\"")]),
            (
                "a@[192.0.2.1]",
                &[full("a@[192.0.2.1]", "a", "[192.0.2.1]")],
            ),
            (
                "<@x.test,@y.test:a@b.test>",
                &[full("@x.test,@y.test:a@b.test", "a", "b.test")],
            ),
            ("jörg", &[bare("jörg")]),
            ("root (Cron Daemon)", &[bare("root")]),
            ("Cron Daemon <root> (x)", &[bare("root")]),
        ] {
            assert_eq!(found(value), expected, "{value}");
        }
    }

    #[test]
    fn an_invalid_element_is_not_an_address() {
        for value in [
            "",
            "<>",
            "A <>",
            "Cron Daemon",
            "a@b@c",
            "a@",
            "@b.test",
            "a b@c.test",
            "<a b>",
            "<a@b.test",
            "a@b.test> <",
            "<a> <b>",
            "<a<b>>",
            "\"a",
            "\"a\\",
            "\"a\\\"",
            "a@[192.0.2.1",
            "(a@b.test",
            "(a@b.test\\",
            "<@x.test a@b.test>",
            "<@\"x\":a@b.test>",
            "a\\b",
            "a\u{7f}b",
            "(((((",
            ")a",
        ] {
            assert_eq!(found(value), [], "{value}");
        }
    }

    #[test]
    fn an_invalid_element_ends_at_the_next_comma() {
        for value in [
            "a b, root",
            "a@b@c, root",
            "<a> <b>, root",
            "a@, root",
            "x\\, root",
        ] {
            assert_eq!(found(value), [("root", "root", None)], "{value}");
        }
        // A comma in angle brackets or in quotes does not separate.
        for value in ["<a, root", "\"a, root"] {
            assert_eq!(found(value), [], "{value}");
        }
    }

    #[test]
    fn each_element_is_reported_with_its_kind() {
        fn kinds(value: &str) -> String {
            let kind = |element| match element {
                Element::Address(address) if address.domain.is_some() => 'a',
                Element::Address(_) => 'b',
                Element::Name(_) => 'n',
                Element::Null(_) => '0',
                Element::Unreadable(_) => '!',
            };
            elements(value.as_bytes()).map(kind).collect()
        }
        for (value, expected) in [
            ("a@b.test, c@d.test", "aa"),
            ("root, Ann <ann>", "bb"),
            ("Acme Ltd, London, Inc. <a@b.test>", "nba"),
            ("Acme Ltd, Inc., a@b.test", "nna"),
            ("Ann <>", "0"),
            ("<>, a@b.test", "0a"),
            ("a@b@c.test, a@b.test", "!a"),
            ("a@, a@b.test", "!a"),
            ("a@b.test (open, c@d.test", "!"),
            ("(open", "!"),
            ("<a@b.test> c@d.test", "!"),
            ("<a@b.test> (c)", "a"),
            ("a@b.test: c@d.test", "!"),
            ("team: a@b.test, root;, c@d.test", "aba"),
            ("one: two: a@b.test;", "!"),
            ("nobody:;", ""),
            (",, ,", ""),
            ("(only a comment)", ""),
            ("", ""),
        ] {
            assert_eq!(kinds(value), expected, "{value}");
        }
    }

    #[test]
    fn the_text_of_an_address_has_no_comments_and_only_needed_quotes() {
        for (value, local_part, domain) in [
            ("a@b.test", "a", Some("b.test")),
            ("a (x) . b @ (y) c . (z) test", "a.b", Some("c.test")),
            ("\"a\"@b.test", "a", Some("b.test")),
            ("\"a\".\"b c\"@d.test", "\"a.b c\"", Some("d.test")),
            ("\"a\\\"b\"@c.test", "\"a\\\"b\"", Some("c.test")),
            ("\"\"@c.test", "\"\"", Some("c.test")),
            ("\"a\r\n b\"@c.test", "\"a b\"", Some("c.test")),
            ("a..b@c.test", "a..b", Some("c.test")),
            ("a@[192.0.2.1]", "a", Some("[192.0.2.1]")),
            ("<@x.test:a@b.test>", "a", Some("b.test")),
            ("root", "root", None),
        ] {
            let address = addresses(value.as_bytes()).next().expect(value);
            let text = (
                address.local_part_text(value.as_bytes()),
                address.domain_text(value.as_bytes()),
            );
            assert_eq!(
                text,
                (Some(local_part.into()), domain.map(str::to_owned)),
                "{value}"
            );
        }
    }
}
