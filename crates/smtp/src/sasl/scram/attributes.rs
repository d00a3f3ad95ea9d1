//! The attributes of a message, separated by commas (RFC 5802 §5.1).

use std::borrow::Cow;

/// Returns the value of the attribute, which must have this name.
pub(super) fn attribute<'a>(part: Option<&'a str>, name: &str) -> Option<&'a str> {
    part?.strip_prefix(name)
}

/// RFC 5802 §5.1: unknown attributes are ignored, except `m`, which is an error.
pub(super) fn is_extension(part: &str) -> bool {
    matches!(part.as_bytes(), [letter, b'=', ..] if letter.is_ascii_alphabetic() && *letter != b'm')
}

/// RFC 5802 §7: printable characters without a comma. The text has already been split at commas.
pub(super) fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic())
}

/// Escapes a name: `=2C` for a comma and `=3D` for an equals sign.
pub(in crate::sasl) fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['=', ',']) {
        name.replace('=', "=3D").replace(',', "=2C").into()
    } else {
        name.into()
    }
}

/// Unescapes a name. Returns `None` if an equals sign begins anything else.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = if let Some(rest) = part.strip_prefix("2C") {
            (',', rest)
        } else {
            ('=', part.strip_prefix("3D")?)
        };
        name.push(sign);
        name.push_str(rest);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_name_is_unescaped_to_the_same_name() {
        for (name, text) in [
            ("user", "user"),
            ("a,b", "a=2Cb"),
            ("=2C", "=3D2C"),
            (",=,", "=2C=3D=2C"),
            ("", ""),
        ] {
            assert_eq!(escape(name), text);
            assert_eq!(unescape(text).as_deref(), Some(name));
        }
        for text in ["=", "a=", "=2", "=2c", "=20", "a=2Cb="] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
