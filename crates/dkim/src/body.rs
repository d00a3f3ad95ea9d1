//! The hash of a body. The body comes in any number of chunks and takes bounded memory.
//!
//! mail-auth does not do this: in the relaxed form it keeps trailing lines of white space, which
//! RFC 6376 §3.4.4 removes, and other verifiers would reject such a message.

use aws_lc_rs::digest::{Context, SHA256};
use memchr::{memchr, memchr3};

/// Canonical octets that are collected before they are hashed, because hashing word by word is
/// slow.
const GATHERED: usize = 4096;

/// Which changes to a body a signature survives (RFC 6376 §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Canonicalization {
    /// White space at the end of a line may be removed or added, and other white space may change
    /// length.
    #[default]
    Relaxed,
    /// Only empty lines at the end of the body may be removed or added.
    Simple,
}

impl std::fmt::Display for Canonicalization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Relaxed => "relaxed",
            Self::Simple => "simple",
        })
    }
}

/// The SHA-256 hash of a body in its canonical form.
#[derive(Debug)]
pub struct BodyHash {
    canonicalization: Canonicalization,
    digest: Digest,
    /// Line ends since the last significant octet. They do not count at the end of the body.
    line_ends: usize,
    /// Whether white space came since the last significant octet. It does not count at the end of a
    /// line.
    blank: bool,
    /// Whether the last octet was a CR, which may begin a line end.
    carriage_return: bool,
    is_empty: bool,
}

impl BodyHash {
    /// Starts the hash of an empty body.
    pub fn new(canonicalization: Canonicalization) -> Self {
        Self {
            canonicalization,
            digest: Digest::new(),
            line_ends: 0,
            blank: false,
            carriage_return: false,
            is_empty: true,
        }
    }

    /// Adds the next octets of the body. They may be cut at any place.
    pub fn write(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.carriage_return) {
                if first == b'\n' {
                    self.line_ends += 1;
                    self.blank = false;
                    rest = &rest[1..];
                    continue;
                }
                self.content(b"\r");
            }
            let plain = self.plain_octets(rest);
            if plain > 0 {
                self.content(&rest[..plain]);
                rest = &rest[plain..];
                continue;
            }
            match first {
                b'\r' => self.carriage_return = true,
                _ => self.blank = true,
            }
            rest = &rest[1..];
        }
    }

    /// The hash of everything that was added.
    pub fn finish(mut self) -> [u8; 32] {
        if self.carriage_return {
            self.content(b"\r");
        }
        // RFC 6376 §3.4.3, §3.4.4: an empty body is one line end in the simple form and nothing in
        // the relaxed form.
        if !self.is_empty || self.canonicalization == Canonicalization::Simple {
            self.digest.write(b"\r\n");
        }
        self.digest.finish()
    }

    /// How many octets at the start are hashed unchanged.
    fn plain_octets(&self, octets: &[u8]) -> usize {
        match self.canonicalization {
            Canonicalization::Relaxed => memchr3(b' ', b'\t', b'\r', octets),
            Canonicalization::Simple => memchr(b'\r', octets),
        }
        .unwrap_or(octets.len())
    }

    /// Adds significant octets, and before them what was held back.
    fn content(&mut self, octets: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.digest.write(b"\r\n");
        }
        if std::mem::take(&mut self.blank) {
            self.digest.write(b" ");
        }
        self.digest.write(octets);
        self.is_empty = false;
    }
}

/// SHA-256 with a small buffer in front.
struct Digest {
    context: Context,
    gathered: Vec<u8>,
}

impl Digest {
    fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            gathered: Vec::with_capacity(GATHERED),
        }
    }

    fn write(&mut self, octets: &[u8]) {
        if self.gathered.len() + octets.len() > GATHERED {
            self.context.update(&self.gathered);
            self.gathered.clear();
        }
        if octets.len() > GATHERED {
            self.context.update(octets);
        } else {
            self.gathered.extend_from_slice(octets);
        }
    }

    fn finish(mut self) -> [u8; 32] {
        self.context.update(&self.gathered);
        self.context
            .finish()
            .as_ref()
            .try_into()
            .expect("SHA-256 has 32 octets")
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::digest;
    use proptest::prelude::*;

    use super::*;

    fn hash(canonicalization: Canonicalization, body: &[u8]) -> [u8; 32] {
        let mut hash = BodyHash::new(canonicalization);
        hash.write(body);
        hash.finish()
    }

    /// RFC 6376 §3.4.4, literally, for a whole body.
    fn relaxed(body: &str) -> String {
        let mut lines: Vec<String> = body
            .split("\r\n")
            .map(|line| {
                let mut reduced = String::new();
                for c in line.chars() {
                    match c {
                        ' ' | '\t' if reduced.ends_with(' ') => (),
                        ' ' | '\t' => reduced.push(' '),
                        _ => reduced.push(c),
                    }
                }
                reduced.trim_end_matches(' ').to_owned()
            })
            .collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.into_iter().map(|line| line + "\r\n").collect()
    }

    /// RFC 6376 §3.4.3, literally.
    fn simple(body: &str) -> String {
        let mut body = body;
        while let Some(shorter) = body.strip_suffix("\r\n") {
            body = shorter;
        }
        format!("{body}\r\n")
    }

    #[test]
    fn canonical_forms_match_the_rfc() {
        use Canonicalization::{Relaxed, Simple};
        for (canonicalization, body, canonical) in [
            // RFC 6376 §3.4.5
            (Relaxed, " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            (Simple, " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n"),
            (Relaxed, "", ""),
            (Simple, "", "\r\n"),
            (Relaxed, "\r\n\r\n", ""),
            (Simple, "\r\n\r\n", "\r\n"),
            (Relaxed, "a", "a\r\n"),
            (Simple, "a", "a\r\n"),
            (Relaxed, "a\r\n\r\n \t\r\n", "a\r\n"),
            (Relaxed, " \r\n", ""),
            (Simple, " \r\n", " \r\n"),
            (Relaxed, "a\r\n \r\nb\r\n", "a\r\n\r\nb\r\n"),
            (Relaxed, "a\rb \r\r\n", "a\rb \r\r\n"),
            (Simple, "a\r", "a\r\r\n"),
        ] {
            assert_eq!(
                hash(canonicalization, body.as_bytes()),
                digest(&SHA256, canonical.as_bytes()).as_ref(),
                "{canonicalization:?} {body:?}"
            );
        }
    }

    #[test]
    fn a_long_body_of_line_ends_takes_no_memory() {
        let mut hash = BodyHash::new(Canonicalization::Relaxed);
        for _ in 0..100 {
            hash.write(&b"\r\n".repeat(10_000));
        }
        assert_eq!(hash.line_ends, 1_000_000);
        assert!(hash.digest.gathered.capacity() <= GATHERED);
        assert_eq!(hash.finish(), digest(&SHA256, b"").as_ref());
    }

    fn body() -> impl Strategy<Value = String> {
        let short = ["\r\n", " ", "\t ", "\r", "\n", "a", "b.", "é"];
        let piece = prop_oneof![
            40 => proptest::sample::select(short.to_vec()).prop_map(str::to_owned),
            1 => Just("x".repeat(GATHERED + 1)),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn the_hash_matches_the_rfc_however_the_body_is_cut(
            body in body(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            cuts.sort_unstable();
            for (canonicalization, canonical) in [
                (Canonicalization::Relaxed, relaxed(&body)),
                (Canonicalization::Simple, simple(&body)),
            ] {
                let mut hash = BodyHash::new(canonicalization);
                let mut from = 0;
                for &cut in cuts.iter().chain([&body.len()]) {
                    hash.write(&body.as_bytes()[from..cut]);
                    from = cut;
                }
                let expected = digest(&SHA256, canonical.as_bytes());
                prop_assert_eq!(hash.finish(), expected.as_ref());
            }
        }
    }
}
