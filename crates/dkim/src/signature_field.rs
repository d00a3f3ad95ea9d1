//! The text of a signature: the DKIM-Signature field (RFC 6376 §3.5).
//!
//! mail-auth does not write it: it may fold between the signature and the semicolon after it, and
//! dkimpy rejects such a field. Here `b=` is the last tag and nothing follows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::body::Canonicalization;
use crate::key::Algorithm;
use relay_smtp::dns_name::{Domain, Selector};

/// The line length at which the field is folded if possible (RFC 5322 §2.1.1).
const MAX_LINE: usize = 78;

/// The fold between two lines.
const FOLD: &str = "\r\n\t";

/// The tags of a signature, except the signature itself.
#[derive(Debug)]
pub(crate) struct SignatureField<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) body: Canonicalization,
    pub(crate) domain: &'a Domain,
    pub(crate) selector: &'a Selector,
    /// The time of signing in seconds since 1970.
    pub(crate) time: u64,
    /// The time of expiry in seconds since 1970.
    pub(crate) expires: Option<u64>,
    /// The names of the signed fields.
    pub(crate) names: &'a [String],
    pub(crate) body_hash: &'a [u8],
}

impl SignatureField<'_> {
    /// The field with an empty signature and without its line end.
    pub(crate) fn unsigned(&self) -> String {
        let mut text = Folded::new("DKIM-Signature: v=1;");
        text.put(&format!(" a={}-sha256;", self.algorithm));
        text.put(&format!(" c=relaxed/{};", self.body));
        text.put(&format!(" d={};", self.domain));
        text.put(&format!(" s={};", self.selector));
        text.put(&format!(" t={};", self.time));
        if let Some(expires) = self.expires {
            text.put(&format!(" x={expires};"));
        }
        for (number, name) in self.names.iter().enumerate() {
            let is_last = number + 1 == self.names.len();
            let before = if number == 0 { " h=" } else { "" };
            text.put(&format!(
                "{before}{name}{}",
                if is_last { ';' } else { ':' }
            ));
        }
        text.put(&format!(" bh={};", STANDARD.encode(self.body_hash)));
        text.fold();
        text.put("b=");
        text.text
    }
}

/// The field with its signature and its line end.
pub(crate) fn signed(unsigned: String, signature: &[u8]) -> String {
    let mut text = Folded {
        column: "\tb=".len(),
        text: unsigned,
    };
    let base64 = STANDARD.encode(signature);
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        if text.column >= MAX_LINE {
            text.fold();
        }
        let (line, tail) = rest.split_at(rest.len().min(MAX_LINE - text.column));
        text.put(line);
        rest = tail;
    }
    text.text + "\r\n"
}

/// A text that is folded between pieces.
struct Folded {
    text: String,
    /// The length of the last line.
    column: usize,
}

impl Folded {
    fn new(start: &str) -> Self {
        Self {
            text: start.to_owned(),
            column: start.len(),
        }
    }

    /// Appends a piece. If it does not fit, it goes on a new line, and the fold replaces a space
    /// before it.
    fn put(&mut self, piece: &str) {
        let mut piece = piece;
        if self.column + piece.len() > MAX_LINE && self.column > 1 {
            self.fold();
            piece = piece.trim_start();
        }
        self.text.push_str(piece);
        self.column += piece.len();
    }

    fn fold(&mut self) {
        self.text.push_str(FOLD);
        self.column = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(names: &[String], domain: &str) -> String {
        let unsigned = SignatureField {
            algorithm: Algorithm::Rsa,
            body: Canonicalization::Simple,
            domain: &domain.parse().unwrap(),
            selector: &"mail".parse().unwrap(),
            time: 1_700_000_000,
            expires: None,
            names,
            body_hash: &[0; 32],
        }
        .unsigned();
        signed(unsigned, &[0; 256])
    }

    #[test]
    fn the_field_is_folded_between_tags_names_and_in_the_signature() {
        let names: Vec<String> = [
            "From",
            "From",
            "Content-Transfer-Encoding",
            "Message-ID",
            "List-Unsubscribe",
        ]
        .map(str::to_owned)
        .into();
        let base64 = format!("{}==", "A".repeat(342));
        let expected = format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=example.org; s=mail;\r\n\
             \tt=1700000000; h=From:From:Content-Transfer-Encoding:Message-ID:\r\n\
             \tList-Unsubscribe; bh={}=;\r\n\
             \tb={}\r\n\t{}\r\n\t{}\r\n\t{}\r\n\t{}\r\n",
            "A".repeat(43),
            &base64[..75],
            &base64[75..152],
            &base64[152..229],
            &base64[229..306],
            &base64[306..],
        );
        assert_eq!(field(&names, "example.org"), expected);
    }

    #[test]
    fn only_a_piece_that_cannot_be_folded_makes_a_line_long() {
        let name = "x".repeat(100);
        let text = field(
            &["From".into(), name.clone()],
            "a.".repeat(100).trim_end_matches('.'),
        );
        let long: Vec<&str> = text.lines().filter(|line| line.len() > MAX_LINE).collect();
        assert_eq!(long.len(), 2, "{text}");
        assert!(long[1].contains(&name));
        assert!(text.lines().all(|line| !line.trim().is_empty()));
    }

    #[test]
    fn nothing_follows_the_signature() {
        for octets in 0..300 {
            let text = signed("\tb=".into(), &vec![0; octets]);
            let last = text.strip_suffix("\r\n").unwrap();
            assert!(!last.ends_with(['\t', '\n', ';']), "{text:?}");
        }
    }
}
