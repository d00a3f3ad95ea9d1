//! Foreign text in a report. It is made printable, on lines short enough for every relay, and
//! cannot add a line, field or part.

use std::fmt::Write;

/// Octets of one reason, and of a line that is quoted: a line ends within 998 (RFC 5322 §2.1.1).
pub(super) const MAX_LINE: usize = 900;
/// Columns of a line, where it can be folded (RFC 5322 §2.1.1).
const COLUMNS: usize = 78;

/// Which characters a part may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Ascii,
    /// A report about addresses beyond ASCII (RFC 6533).
    Utf8,
}

/// `name` and `value` on lines that begin with a blank from the second on, the way of header
/// fields.
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

/// Printable ASCII; everything else becomes a question mark.
pub(super) fn printable(c: char) -> char {
    match c {
        ' '..='~' | '\t' => c,
        _ => '?',
    }
}

/// An address of our own kind, by what it holds.
pub(super) fn address(address: &str, charset: Charset) -> String {
    typed_address(address_type(address), address, charset)
}

/// An address of this type. In ASCII, what is beyond becomes `\x{...}` (RFC 6533 §3,
/// `utf-8-addr-xtext`); of the type utf-8, plus, equals sign and backslash do in any address.
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

/// The type of an address in `Final-Recipient` (RFC 3464 §2.3.2, RFC 6533 §3).
pub(super) fn address_type(address: &str) -> &'static str {
    if address.is_ascii() {
        "rfc822"
    } else {
        "utf-8"
    }
}
