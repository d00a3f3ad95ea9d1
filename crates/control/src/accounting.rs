//! Counters of recipients, and whether every one is accounted for.

use serde::{Deserialize, Serialize};

/// Counters of recipients since the queue was created: how many came in, and how each was settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Recipients of messages accepted from clients.
    pub accepted: u64,
    /// Recipients of the relay's own reports.
    pub reports: u64,
    /// Recipients that another host has accepted.
    pub delivered: u64,
    /// Recipients that failed permanently, whether a report was sent or must not be.
    pub bounced: u64,
    /// Recipients that were unsettled when the operator deleted their message.
    pub discarded: u64,
    /// Recipients that were unsettled when their message was found damaged.
    pub set_aside: u64,
}

impl Accounting {
    /// Returns how many recipients came in.
    pub fn came_in(&self) -> u64 {
        self.accepted.saturating_add(self.reports)
    }

    /// Returns how many recipients are settled.
    pub fn settled(&self) -> u64 {
        let counts = [self.delivered, self.bounced, self.discarded, self.set_aside];
        counts.into_iter().fold(0, u64::saturating_add)
    }
}

/// The counters compared with the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The counters.
    #[serde(flatten)]
    pub accounting: Accounting,
    /// How many unsettled recipients were counted in the queue.
    pub queued: u64,
    /// Whether every recipient that came in is settled or still in the queue.
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
