//! What can go wrong in a store.

use std::io;

use crate::id::QueueId;

/// An operation of a store that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Less room on the disk than `queue.min_free`: `452 4.3.1`.
    #[error("the disk of the queue has less than {min_free} bytes free")]
    NoRoom {
        /// The reserve that was asked for, in bytes.
        min_free: u64,
    },
    /// The operating system refused; `doing` says what.
    #[error("{doing}: {source}")]
    Io {
        /// "writing the body file /var/lib/relayd/mess/…"
        doing: String,
        /// The system's own reason.
        source: io::Error,
    },
    /// The database refused.
    #[error("{doing}: {reason}")]
    Database {
        /// "committing to /var/lib/relayd/queue"
        doing: String,
        /// The database's own words.
        reason: String,
    },
    /// Another relayd holds the queue.
    #[error(
        "the queue in {dir} is in use by another relayd (it is locked): stop that one, or give this one its own state_dir"
    )]
    Locked {
        /// The state directory.
        dir: String,
    },
    /// Somebody else has the message now, or it is gone: nothing was recorded.
    #[error("the claim on {0} is lost")]
    ClaimLost(QueueId),
    /// A record or body that cannot be what was written.
    #[error("message {id} is damaged: {reason}")]
    Damaged {
        /// The message.
        id: QueueId,
        /// What does not fit.
        reason: String,
    },
    /// The store is closed for repair or for good.
    #[error("the queue is closed: {reason}")]
    Closed {
        /// What closed it.
        reason: String,
    },
}
