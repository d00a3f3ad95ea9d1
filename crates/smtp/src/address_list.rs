//! The addresses of a field, and where in it they stand (RFC 5322 §3.4, and what of §4.4 is seen).
//!
//! What is not understood is passed over up to the next comma: an address is found where it cannot be
//! anything else, or not at all.

use std::ops::Range;

/// The place of an address, without its name, its comments and its angle brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// All of it, with the route that may stand before it.
    pub whole: Range<usize>,
    /// Before the `@`, quotes included.
    pub local_part: Range<usize>,
    /// Behind it; none of a bare address.
    pub domain: Option<Range<usize>>,
}

/// The addresses of a field's value, from the first to the last. Each octet is looked at once.
pub fn addresses(value: &[u8]) -> impl Iterator<Item = Address> {
    let mut tokens = Tokens { value, place: 0 };
    std::iter::from_fn(move || {
        loop {
            match tokens.entry() {
                Entry::Address(address) => return Some(address),
                Entry::Nothing => {}
                Entry::End => return None,
            }
        }
    })
}

/// What stands between two commas.
enum Entry {
    Address(Address),
    /// Nothing at all, or nothing that is understood.
    Nothing,
    /// There is no more.
    End,
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
    /// One of the octets that mean something, or one that should not be there.
    Mark(u8),
    /// A quoted string or a literal without its end.
    Broken,
}

struct Tokens<'a> {
    value: &'a [u8],
    place: usize,
}

/// What may be an address: its first tokens, of which an address has three at most.
#[derive(Debug, Default)]
struct Candidate {
    tokens: [Option<Token>; 3],
    count: usize,
}

impl Candidate {
    fn push(&mut self, token: Token) {
        if let Some(slot) = self.tokens.get_mut(self.count) {
            *slot = Some(token);
        }
        self.count = self.count.saturating_add(1);
    }

    fn address(self) -> Option<Address> {
        let is_local = |token: &Token| matches!(token.kind, Kind::Word | Kind::Quoted);
        let is_domain = |token: &Token| matches!(token.kind, Kind::Word | Kind::Literal);
        match (self.count, self.tokens) {
            (1, [Some(local), ..]) if is_local(&local) => Some(Address {
                whole: local.place.clone(),
                local_part: local.place,
                domain: None,
            }),
            (3, [Some(local), Some(at), Some(domain)])
                if is_local(&local) && at.kind == Kind::Mark(b'@') && is_domain(&domain) =>
            {
                Some(Address {
                    whole: local.place.start..domain.place.end,
                    local_part: local.place,
                    domain: Some(domain.place),
                })
            }
            _ => None,
        }
    }
}

impl Tokens<'_> {
    /// All up to the next comma, or to the end of a group.
    fn entry(&mut self) -> Entry {
        let mut plain = Candidate::default();
        // What is in angle brackets, if there are any: all else is a name then.
        let mut angle: Option<Option<Address>> = None;
        let mut is_empty = true;
        while let Some(token) = self.token() {
            is_empty = false;
            match token.kind {
                Kind::Mark(b',' | b';') => break,
                // What stood before it is the name of a group.
                Kind::Mark(b':') if angle.is_none() => plain = Candidate::default(),
                Kind::Mark(b'<') if angle.is_none() => angle = Some(self.angle()),
                // Two addresses, and nobody knows which one is meant.
                Kind::Mark(b'<') => angle = Some(None),
                _ => plain.push(token),
            }
        }
        match angle.unwrap_or_else(|| plain.address()) {
            Some(address) => Entry::Address(address),
            None if is_empty => Entry::End,
            None => Entry::Nothing,
        }
    }

    /// Behind `<`, up to and including `>`.
    fn angle(&mut self) -> Option<Address> {
        let mut inside = Candidate::default();
        let mut route = None;
        while let Some(token) = self.token() {
            match token.kind {
                Kind::Mark(b'>') => {
                    let address = inside.address()?;
                    let start = route.unwrap_or(address.whole.start);
                    return Some(Address {
                        whole: start..address.whole.end,
                        ..address
                    });
                }
                Kind::Mark(b'@') if inside.count == 0 && route.is_none() => {
                    route = Some(token.place.start);
                    self.pass_route()?;
                }
                _ => inside.push(token),
            }
        }
        None
    }

    /// Behind the first `@` of `@a.example,@b.example:`, up to and including the colon.
    fn pass_route(&mut self) -> Option<()> {
        loop {
            match self.token()?.kind {
                Kind::Mark(b':') => return Some(()),
                Kind::Mark(b'@' | b',') | Kind::Word | Kind::Literal => {}
                Kind::Mark(_) | Kind::Quoted | Kind::Broken => return None,
            }
        }
    }

    /// The next token; blanks, folds and comments are passed over.
    fn token(&mut self) -> Option<Token> {
        self.pass_blanks();
        let start = self.place;
        let kind = match *self.value.get(start)? {
            b'"' => self.enclosed(b'"', Kind::Quoted),
            b'[' => self.enclosed(b']', Kind::Literal),
            octet if is_of_word(octet) => {
                let rest = &self.value[start..];
                let length = rest.iter().position(|&octet| !is_of_word(octet));
                self.place += length.unwrap_or(rest.len());
                Kind::Word
            }
            octet => {
                self.place += 1;
                Kind::Mark(octet)
            }
        };
        Some(Token {
            kind,
            place: start..self.place,
        })
    }

    /// From an opening octet to the closing one; what a backslash stands before is neither.
    fn enclosed(&mut self, close: u8, kind: Kind) -> Kind {
        self.place += 1;
        while let Some(&octet) = self.value.get(self.place) {
            self.place += 1;
            match octet {
                b'\\' => self.place += 1,
                octet if octet == close => return kind,
                _ => {}
            }
        }
        self.place = self.value.len();
        Kind::Broken
    }

    /// Comments may stand in comments (RFC 5322 §3.2.2); one without an end takes all that is left.
    fn pass_blanks(&mut self) {
        let mut depth = 0_usize;
        while let Some(&octet) = self.value.get(self.place) {
            match octet {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.place += 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return,
            }
            self.place += 1;
        }
    }
}

/// RFC 5322 §3.2.3 `atext` and the dot; RFC 6532 §3.2 for what is beyond ASCII.
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
    fn an_address_is_found_where_it_stands_and_nothing_else_is() {
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
    fn what_is_not_understood_is_no_address() {
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
            "\"a\".b@c.test",
            "(((((",
            ")a",
        ] {
            assert_eq!(found(value), [], "{value}");
        }
    }

    #[test]
    fn what_is_not_understood_ends_with_the_next_comma() {
        for value in [
            "a b, root",
            "a@b@c, root",
            "<a> <b>, root",
            "a@, root",
            "x\\, root",
        ] {
            assert_eq!(found(value), [("root", "root", None)], "{value}");
        }
        // In angle brackets and in quotes a comma is none.
        for value in ["<a, root", "\"a, root"] {
            assert_eq!(found(value), [], "{value}");
        }
    }
}
