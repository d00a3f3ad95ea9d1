//! Text from outside in a report. It is made printable, in lines short enough for every relay, and
//! cannot add a line, field or part.

use std::fmt::Write;

/// Octets of one reason, and of a quoted line. A line has at most 998 (RFC 5322 §2.1.1).
pub(super) const MAX_LINE: usize = 900;
/// Columns of a line that can be folded (RFC 5322 §2.1.1).
const COLUMNS: usize = 78;

/// The characters that a part may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Ascii,
    /// For a report about addresses beyond ASCII (RFC 6533).
    Utf8,
}

/// Adds `name` and `value` as a folded header field: each line but the first begins with spaces.
pub(super) fn fold(text: &mut String, name: &str, value: &str) {
    let value: String = value.chars().take(MAX_LINE).map(printable).collect();
    text.push_str(name);
    let mut column = name.len();
    for (n, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
        if n > 0 {
            if column + 1 + word.len() > COLUMNS {
                text.push_str("\r\n    ");
                column = 4;
            } else {
                text.push(' ');
                column += 1;
            }
        }
        text.push_str(word);
        column += word.len();
    }
    text.push_str("\r\n");
}

/// Replaces everything but printable ASCII with a question mark.
pub(super) fn printable(c: char) -> char {
    match c {
        ' '..='~' | '\t' => c,
        _ => '?',
    }
}

/// Writes an address of the type that [`address_type`] returns.
pub(super) fn address(address: &str, charset: Charset) -> String {
    typed_address(address_type(address), address, charset)
}

/// Writes an address of the given type. A character that the type or `charset` does not allow
/// becomes `\x{...}` (RFC 6533 §3, `utf-8-addr-xtext`). In the type utf-8, plus, equals sign and
/// backslash always do.
pub(super) fn typed_address(kind: &str, address: &str, charset: Charset) -> String {
    if address.is_ascii() && !kind.eq_ignore_ascii_case("utf-8") {
        return address.chars().map(printable).collect();
    }
    address.chars().fold(String::new(), |mut text, c| {
        let is_plain = matches!(c, '!'..='~') && !matches!(c, '\\' | '+' | '=');
        let is_kept = charset == Charset::Utf8 && !c.is_ascii() && !c.is_control();
        if is_plain || is_kept {
            text.push(c);
        } else {
            let _ = write!(text, "\\x{{{:02X}}}", u32::from(c));
        }
        text
    })
}

/// Returns the type of an address for `Final-Recipient` (RFC 3464 §2.3.2, RFC 6533 §3).
pub(super) fn address_type(address: &str) -> &'static str {
    if address.is_ascii() {
        "rfc822"
    } else {
        "utf-8"
    }
}
