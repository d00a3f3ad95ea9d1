//! The verbs that an operator applies to single messages.

use relay_message::QueueId;

/// A verb for single messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Retry,
    Bounce,
    Hold,
    Release,
    Delete,
    /// Hold a message that has just come in; repeated until the store does it.
    HoldNew,
    /// Read a message again that was released while it was being worked on.
    Reread,
}

/// What a verb has changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Messages that were changed. The change is durable, except for those in `pending`.
    pub changed: usize,
    /// Of these, messages that are returned to their senders when the attempts under way have
    /// ended, unless an attempt delivers them or the process ends first.
    pub pending: usize,
    /// Of these, messages that were given up without a report: there is no sender, or the sender
    /// wants none.
    pub untold: usize,
    /// Messages on which the store failed, with the error. After a little more than a hundred, the
    /// verb stops and the rest is unchanged.
    pub problems: Vec<(QueueId, String)>,
}
