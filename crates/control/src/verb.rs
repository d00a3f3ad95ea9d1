//! What the operator does to messages of the queue, and what came of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is done to messages of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Try them now.
    Retry,
    /// Set them aside.
    Hold,
    /// End that, and try them now.
    Release,
    /// Remove them; nobody is told.
    Delete,
    /// Give them up and report to their senders.
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

/// There is no such verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not among retry, hold, release, delete and bounce")]
pub struct VerbError;

impl FromStr for Verb {
    type Err = VerbError;

    fn from_str(text: &str) -> Result<Self, VerbError> {
        let mut all = Self::ALL.into_iter();
        all.find(|verb| verb.name() == text).ok_or(VerbError)
    }
}

/// What a verb has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerbResult {
    /// Messages that were meant.
    pub matched: u64,
    /// Messages of them that it changed something for.
    pub changed: u64,
    /// Messages of those that are returned to their senders when the attempt that is under way has
    /// ended, unless that delivers them or the relay stops first.
    #[serde(default)]
    pub pending: u64,
    /// Messages of those that were given up without anybody being told: there is nobody, or nobody
    /// who wants it.
    #[serde(default)]
    pub untold: u64,
    /// Messages of them that were held when it came to them.
    pub held: u64,
    /// Ids that were named and are not in the queue.
    #[serde(default)]
    pub unknown: Vec<String>,
    /// What went wrong, a line for each message, and why it was broken off if it was.
    pub problems: Vec<String>,
}

/// What a verb would be about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Messages that are meant.
    pub matched: u64,
    /// Recipients of theirs that something is left to do for and that were not asked for: a verb is
    /// about whole messages.
    #[serde(default)]
    pub others: u64,
    /// Messages of them that are reports of ours.
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
