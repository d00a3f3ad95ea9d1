//! User names.

use std::fmt;
use std::str::FromStr;

/// RFC 4616 §2: names of up to 255 octets must be accepted.
const MAX: usize = 255;

/// A user name: 1 to 255 octets without control characters, so a log can contain it unchanged. Case
/// matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Box<str>);

/// Why a text is not a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// It is empty.
    #[error("a user's name cannot be empty")]
    Empty,
    /// It has more than 255 octets.
    #[error("a user's name can have at most 255 octets")]
    TooLong,
    /// It contains a control character (RFC 4013 §2.3).
    #[error("a user's name cannot contain control characters")]
    Control,
}

impl UserName {
    /// The name, as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        if text.is_empty() {
            Err(UserNameError::Empty)
        } else if text.len() > MAX {
            Err(UserNameError::TooLong)
        } else if text.contains(char::is_control) {
            Err(UserNameError::Control)
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_text_without_control_characters() {
        for good in ["app", "a b", "me@example.org", "jürgen", &"x".repeat(255)] {
            let name: UserName = good.parse().expect(good);
            assert_eq!(name.as_str(), good);
        }
        for (bad, why) in [
            ("", UserNameError::Empty),
            (&*"x".repeat(256), UserNameError::TooLong),
            ("a\0b", UserNameError::Control),
            ("a\nb", UserNameError::Control),
            ("a\u{85}b", UserNameError::Control),
        ] {
            assert_eq!(bad.parse::<UserName>(), Err(why), "{bad:?}");
        }
    }
}
