//! What became of all recipients.

use serde::{Deserialize, Serialize};

/// Recipients counted since the queue was made: what came in, and what it became.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Of messages taken in from clients.
    pub accepted: u64,
    /// Of the relay's own reports.
    pub reports: u64,
    /// Handed over to another host.
    pub delivered: u64,
    /// Failed for good; the sender has been told, or must not be.
    pub bounced: u64,
    /// Not settled yet when the operator deleted their message.
    pub discarded: u64,
    /// Not settled yet when their message was found damaged.
    pub set_aside: u64,
}

impl Accounting {
    /// What came in.
    pub fn came_in(&self) -> u64 {
        self.accepted.saturating_add(self.reports)
    }

    /// What something became of.
    pub fn settled(&self) -> u64 {
        let counts = [self.delivered, self.bounced, self.discarded, self.set_aside];
        counts.into_iter().fold(0, u64::saturating_add)
    }
}

/// The books held against the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// What the books say.
    #[serde(flatten)]
    pub accounting: Accounting,
    /// Recipients in the queue that something is left to do for, as they were counted.
    pub queued: u64,
    /// Whether what came in is what became of it and what is still there.
    pub balanced: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_is_one_flat_object() {
        let books = Accounting {
            accepted: 7,
            reports: 1,
            delivered: 3,
            bounced: 2,
            discarded: 1,
            set_aside: 0,
        };
        let audit = Audit {
            accounting: books,
            queued: 2,
            balanced: true,
        };
        let json = r#"{"accepted":7,"reports":1,"delivered":3,"bounced":2,"discarded":1,"set_aside":0,"queued":2,"balanced":true}"#;
        assert_eq!(serde_json::to_string(&audit).expect("JSON"), json);
        assert_eq!(
            serde_json::from_str::<Audit>(json).expect("an audit"),
            audit
        );
        assert_eq!((books.came_in(), books.settled()), (8, 6));
    }
}
