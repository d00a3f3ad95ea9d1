//! What is told of a delivery while it is under way.

use std::fmt;

/// Told how far a job has come.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A session is ready for MAIL FROM. Of several sessions the last counts.
    fn connected(&self);

    /// The peer has taken the message for this recipient, by its place in the job, and it offers
    /// DSN: it was told what the sender asked for, and reports of success are its own to make (RFC
    /// 3461 §5.2.1).
    fn passed_on(&self, recipient: usize);
}

/// Nobody.
impl Observer for () {
    fn connected(&self) {}

    fn passed_on(&self, _: usize) {}
}
