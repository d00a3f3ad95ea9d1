//! The verbs that change messages in the queue, and their result.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A verb that changes messages in the queue. `send` applies it.
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

    /// Returns its name in requests and on command lines.
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

/// The result of a verb. `send` counts what it has changed, page by page. The control API adds the pages
/// up, together with what it knows about the selection: `matched`, `held` and `unknown`.
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

impl VerbResult {
    /// Adds the result for more messages.
    pub fn add(&mut self, other: Self) {
        let Self {
            matched,
            changed,
            pending,
            untold,
            held,
            unknown,
            problems,
        } = other;
        self.matched += matched;
        self.changed += changed;
        self.pending += pending;
        self.untold += untold;
        self.held += held;
        self.unknown.extend(unknown);
        self.problems.extend(problems);
    }
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

    #[test]
    fn results_add_up() {
        let json = r#"{"matched":3,"changed":2,"pending":1,"untold":1,"held":1,"unknown":["X"],"problems":["p"]}"#;
        let one: VerbResult = serde_json::from_str(json).expect("a result");
        let mut sum = one.clone();
        sum.add(one);
        let expected = r#"{"matched":6,"changed":4,"pending":2,"untold":2,"held":2,"unknown":["X","X"],"problems":["p","p"]}"#;
        assert_eq!(serde_json::to_string(&sum).expect("JSON"), expected);
    }
}
