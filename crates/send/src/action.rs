//! The changes that are applied to single messages.

use relay_control::Verb;

/// A change of single messages: first in the store, then in the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A verb of the operator.
    Operator(Verb),
    /// Hold a message that has just arrived. Repeated until the store does it.
    HoldNew,
    /// Read a message again that was released during an attempt.
    Reread,
}
