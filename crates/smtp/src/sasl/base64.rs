//! Base64 as SASL uses it (RFC 4648 §4): padded, canonical, without blanks.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use zeroize::Zeroizing;

/// The text is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct NotBase64;

/// Decodes `text`. Anything that is not the one canonical encoding is refused: a missing or
/// needless `=`, bits after the last octet, any character outside the alphabet.
pub fn decode(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotBase64> {
    let octets = BASE64_STANDARD.decode(text).map_err(|_| NotBase64)?;
    Ok(Zeroizing::new(octets))
}

/// Encodes `octets`.
pub fn encode(octets: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE64_STANDARD.encode(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_text_is_decoded() {
        for (text, octets) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("AGE=", "\0a"),
        ] {
            let decoded = decode(text.as_bytes()).expect(text);
            assert_eq!(*decoded, octets.as_bytes(), "{text}");
            assert_eq!(*encode(octets.as_bytes()), text);
        }
        for text in [
            "Zg",
            "Zg=",
            "Zg===",
            "Zh==",
            "Zm9",
            "Zm=v",
            "=",
            "====",
            "*",
            "!!!",
            "Zm9v ",
            " Zm9v",
            "Zm\t9v",
            "Zm9v\0",
            "Zm-_",
            "Zm9vZg==Zg==",
        ] {
            assert_eq!(decode(text.as_bytes()), Err(NotBase64), "{text:?}");
        }
    }
}
