//! Passwords and tokens, which must stay secret.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

/// The most octets of a secret. The tokens of some providers have thousands; in base64 a secret
/// must fit a line of 12288 octets (RFC 4954 §4).
const MAX: usize = 8192;

/// A password or a token: text of at most 8192 octets without control characters (RFC 4013 §2.3).
/// It may be empty, because a client may send an empty one.
///
/// Only [`Secret::expose`] returns the text. Secrets are compared in constant time and wiped when
/// dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// Why a text cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It has more than 8192 octets.
    #[error("a password can have at most 8192 octets")]
    TooLong,
    /// It contains a control character, such as a line end (RFC 4013 §2.3).
    #[error("a password cannot contain control characters")]
    Control,
}

impl Secret {
    /// Makes a secret. If `text` cannot be one, it is wiped.
    pub fn new(text: impl Into<String>) -> Result<Self, SecretError> {
        let text = Zeroizing::new(text.into());
        if text.len() > MAX {
            Err(SecretError::TooLong)
        } else if text.contains(char::is_control) {
            Err(SecretError::Control)
        } else {
            Ok(Self(text))
        }
    }

    /// Returns the text itself, for code that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_bounded_and_has_no_control_character() {
        for good in ["", "pass word", "pässword", &"x".repeat(MAX)] {
            assert_eq!(Secret::new(good).expect(good).expose(), good);
        }
        for bad in ["a\0", "\u{1}", "a\n", "\u{7f}", "\u{9b}"] {
            assert_eq!(Secret::new(bad), Err(SecretError::Control), "{bad:?}");
        }
        let long = Secret::new("x".repeat(MAX + 1));
        assert_eq!(long, Err(SecretError::TooLong));
    }

    #[test]
    fn debug_output_hides_secrets() {
        let secret = Secret::new("s3cret").expect("plain text");
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    #[test]
    fn secrets_with_the_same_text_are_equal() {
        let secret = |text| Secret::new(text).expect("plain text");
        assert_eq!(secret("a"), secret("a"));
        assert_ne!(secret("a"), secret("b"));
        assert_ne!(secret("a"), secret("aa"));
    }
}
