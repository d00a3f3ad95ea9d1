//! The notation of transcripts for octets on the wire, read leniently.

use relay_smtp::sasl::base64;

/// `\r \n \t \0 \\ \xNN` are octets, and `{...}` is the base64 of its content. Other text is unchanged.
pub fn octets(mut text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    while let Some((before, within, behind)) = braces(text) {
        octets.extend(unescape(before));
        octets.extend_from_slice(base64::encode(&unescape(within)).as_bytes());
        text = behind;
    }
    octets.extend(unescape(text));
    octets
}

/// Returns the text before, within and after the first braces.
fn braces(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let start = text.iter().position(|&octet| octet == b'{')?;
    let length = text[start..].iter().position(|&octet| octet == b'}')?;
    let (within, behind) = text[start + 1..].split_at(length - 1);
    Some((&text[..start], within, &behind[1..]))
}

fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    while let [first, tail @ ..] = text {
        let (octet, rest) = match text {
            [b'\\', b'r', rest @ ..] => (b'\r', rest),
            [b'\\', b'n', rest @ ..] => (b'\n', rest),
            [b'\\', b't', rest @ ..] => (b'\t', rest),
            [b'\\', b'0', rest @ ..] => (0, rest),
            [b'\\', b'\\', rest @ ..] => (b'\\', rest),
            [b'\\', b'x', high, low, rest @ ..] => (hex(*high) << 4 | hex(*low), rest),
            _ => (*first, tail),
        };
        octets.push(octet);
        text = rest;
    }
    octets
}

fn hex(digit: u8) -> u8 {
    let value = char::from(digit).to_digit(16).unwrap_or_default();
    u8::try_from(value).unwrap_or_default()
}
