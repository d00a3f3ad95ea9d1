//! Queue ids. A message has the same id in the `250` reply, the `Received` header, every log line
//! and every answer.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Crockford's alphabet: no letter looks like a digit, and the characters are in the order of their
/// values.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 13;

/// The name of one message in the queue: the time of arrival in microseconds, and twelve more bits.
/// Ids sort by arrival, and two relays that share a queue do not create the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(u64);

impl QueueId {
    /// Returns the id with this number.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the number of the id, which is the key in a store.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Returns when the id was assigned: at the arrival of its message, or a moment before.
    pub fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0 >> 12)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; LENGTH];
        for (i, c) in text.iter_mut().enumerate() {
            let digit = (self.0 >> (5 * (LENGTH - 1 - i))) & 31;
            *c = ALPHABET[usize::try_from(digit).unwrap_or(0)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// The error for a text that is not a queue id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a queue id has 13 characters, such as 06Q3ZV9WQ0K4D")]
pub struct IdError;

impl FromStr for QueueId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != LENGTH {
            return Err(IdError);
        }
        let digit = |c: u8| ALPHABET.iter().position(|&a| a == c).ok_or(IdError);
        text.bytes()
            .try_fold(0u128, |bits, c| Ok(bits << 5 | digit(c)? as u128))
            .and_then(|bits| u64::try_from(bits).map(Self).map_err(|_| IdError))
    }
}

impl TryFrom<String> for QueueId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<QueueId> for String {
    fn from(id: QueueId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form_and_keep_their_order() {
        let bits = [0, 1, 31, 32, 1 << 40, u64::MAX - 1, u64::MAX];
        let texts: Vec<_> = bits.iter().map(|&b| QueueId(b).to_string()).collect();
        assert!(texts.is_sorted());
        for (text, bits) in texts.iter().zip(bits) {
            assert_eq!(text.parse(), Ok(QueueId(bits)));
        }
    }

    #[test]
    fn other_text_is_not_an_id() {
        for text in [
            "",
            "0",
            "ZZZZZZZZZZZZZ",
            "000000000000U",
            "../../../etc/x",
            "000000000000é",
        ] {
            assert_eq!(text.parse::<QueueId>(), Err(IdError), "{text}");
        }
    }
}
