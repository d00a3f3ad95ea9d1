//! The verbs that an operator applies to single messages.

use relay_message::QueueId;

/// What the operator wants of single messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Retry,
    Bounce,
    Hold,
    Release,
    Delete,
    /// Hold what has just come in, however often the store has to be asked.
    HoldNew,
    /// Look at a message again that was released while it was worked on.
    Reread,
}

/// What a verb has changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Messages that it changed something for. What it changed survives a power cut, but for those
    /// that are `pending`.
    pub changed: usize,
    /// Messages of them that are returned to their senders when what is under way has ended, unless
    /// that delivers them or this process ends first.
    pub pending: usize,
    /// Messages of them that were given up without anybody being told: there is nobody, or nobody
    /// who wants it.
    pub untold: usize,
    /// Messages that the store did not do as asked for, and what it said. After a good hundred of
    /// them the rest is left alone.
    pub problems: Vec<(QueueId, String)>,
}
