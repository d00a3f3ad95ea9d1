//! The verbs that change messages in the queue, and their result.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A verb that changes messages in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Try the messages now.
    Retry,
    /// Stop delivery until the messages are released.
    Hold,
    /// End a hold and try the messages now.
    Release,
    /// Delete the messages without notifying anybody.
    Delete,
    /// Give the messages up and report to their senders.
    Bounce,
}

impl Verb {
    const ALL: [Self; 5] = [
        Self::Retry,
        Self::Hold,
        Self::Release,
        Self::Delete,
        Self::Bounce,
    ];

    /// Its name in requests and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Delete => "delete",
            Self::Bounce => "bounce",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the verb is not one of retry, hold, release, delete and bounce")]
pub struct VerbError;

impl FromStr for Verb {
    type Err = VerbError;

    fn from_str(text: &str) -> Result<Self, VerbError> {
        let mut all = Self::ALL.into_iter();
        all.find(|verb| verb.name() == text).ok_or(VerbError)
    }
}

/// The result of a verb.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerbResult {
    /// How many messages were selected.
    pub matched: u64,
    /// How many of them were changed.
    pub changed: u64,
    /// How many of the changed messages bounce when their current attempt has ended, unless it
    /// delivers them or the relay stops first.
    #[serde(default)]
    pub pending: u64,
    /// How many of the changed messages were given up without a report, because there is no sender or
    /// the sender does not want one.
    #[serde(default)]
    pub untold: u64,
    /// How many of the selected messages were held.
    pub held: u64,
    /// The given ids that are not in the queue.
    #[serde(default)]
    pub unknown: Vec<String>,
    /// One line for each message that failed, and the reason if the verb was aborted.
    pub problems: Vec<String>,
}

/// The messages that a verb would apply to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How many messages are selected.
    pub matched: u64,
    /// How many of their unsettled recipients were not selected: a verb applies to whole messages.
    #[serde(default)]
    pub others: u64,
    /// How many of them are bounces or other reports of this relay.
    #[serde(default)]
    pub reports: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_have_one_name() {
        for verb in Verb::ALL {
            assert_eq!(verb.name().parse(), Ok(verb));
        }
        assert_eq!("frob".parse::<Verb>(), Err(VerbError));
    }
}
