//! Encodes names and values for the query of a request or the body of a form.

/// Returns an encoded list such as `from=a%40b.test&to=…`.
pub(crate) fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={}", escape(&value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Encodes everything except the unreserved characters (RFC 3986 §2.1).
fn escape(text: &str) -> String {
    let octet = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_can_add_a_pair_to_the_query() {
        assert_eq!(encode([]), "");
        let pairs = [("from", "a@b".to_owned()), ("to", "<>".to_owned())];
        assert_eq!(encode(pairs), "from=a%40b&to=%3C%3E");
        assert_eq!(escape("a.b-c_d~1@x"), "a.b-c_d~1%40x");
        assert_eq!(escape("a&to=b c+d#\u{e9}"), "a%26to%3Db%20c%2Bd%23%C3%A9");
    }
}
