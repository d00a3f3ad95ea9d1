//! Enhanced mail system status codes (RFC 3463).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The class: the first digit of a status (RFC 3463 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// `2`: success.
    Success,
    /// `4`: a temporary failure; a later attempt may succeed.
    Transient,
    /// `5`: a permanent failure; another attempt will not succeed.
    Permanent,
}

/// A status such as `4.4.1`: class, subject and detail (RFC 3463 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnhancedStatus {
    class: Class,
    subject: u16,
    detail: u16,
}

impl EnhancedStatus {
    /// Makes a status of the given class. Subject and detail are at most 999 (RFC 3463 §2).
    pub const fn new(class: Class, subject: u16, detail: u16) -> Self {
        assert!(
            subject <= 999 && detail <= 999,
            "RFC 3463 allows three digits"
        );
        Self {
            class,
            subject,
            detail,
        }
    }

    /// `2.subject.detail`
    pub const fn success(subject: u16, detail: u16) -> Self {
        Self::new(Class::Success, subject, detail)
    }

    /// `4.subject.detail`
    pub const fn transient(subject: u16, detail: u16) -> Self {
        Self::new(Class::Transient, subject, detail)
    }

    /// `5.subject.detail`
    pub const fn permanent(subject: u16, detail: u16) -> Self {
        Self::new(Class::Permanent, subject, detail)
    }

    /// The class.
    pub const fn class(self) -> Class {
        self.class
    }

    /// The subject by its number in RFC 3463 §3; 7 is security and policy.
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// Returns the same subject and detail under another class.
    #[must_use]
    pub const fn with_class(self, class: Class) -> Self {
        Self { class, ..self }
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            Class::Success => 2,
            Class::Transient => 4,
            Class::Permanent => 5,
        };
        write!(f, "{class}.{}.{}", self.subject, self.detail)
    }
}

/// The text is not a status code of RFC 3463.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code")]
pub struct StatusError;

impl FromStr for EnhancedStatus {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        let mut parts = text.split('.');
        let class = match parts.next() {
            Some("2") => Class::Success,
            Some("4") => Class::Transient,
            Some("5") => Class::Permanent,
            _ => return Err(StatusError),
        };
        let mut number = || -> Result<u16, StatusError> {
            let digits = parts.next().ok_or(StatusError)?;
            if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                return Err(StatusError);
            }
            digits.parse().map_err(|_| StatusError)
        };
        let status = Self::new(class, number()?, number()?);
        match parts.next() {
            None => Ok(status),
            Some(_) => Err(StatusError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_formatted_as_it_was_parsed() {
        for text in ["2.0.0", "4.4.1", "5.1.10", "5.7.999"] {
            assert_eq!(
                text.parse::<EnhancedStatus>().map(|s| s.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", "3.0.0", "5.1", "5.1.1.1", "5.1000.0", "5..1", "5.+1.1", " 5.1.1", "5.1.1 ",
        ] {
            assert_eq!(text.parse::<EnhancedStatus>(), Err(StatusError), "{text:?}");
        }
    }
}
