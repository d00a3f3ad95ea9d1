//! How the operations of a store fail.

use std::io;

use crate::id::QueueId;

/// An operation of a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk has less free space than `queue.min_free`. The client gets `452 4.3.1`.
    #[error("the disk of the queue has less than {min_free} bytes free")]
    NoRoom {
        /// The reserve in bytes.
        min_free: u64,
    },
    /// A call of the operating system failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, such as "writing the body file /var/lib/relayd/mess/…".
        doing: String,
        /// The error of the system.
        source: io::Error,
    },
    /// A call of the database failed.
    #[error("{doing}: {reason}")]
    Database {
        /// What was being done, such as "committing to /var/lib/relayd/queue".
        doing: String,
        /// The message of the database.
        reason: String,
    },
    /// Another relayd has locked the queue.
    #[error(
        "the queue in {dir} is in use by another relayd (it is locked): stop that one, or give this one its own state_dir"
    )]
    Locked {
        /// The state directory.
        dir: String,
    },
    /// Another relay has the message now, or the message is gone. Nothing was recorded.
    #[error("the claim on {0} is lost")]
    ClaimLost(QueueId),
    /// A record or a body is not what was written.
    #[error("message {id} is damaged: {reason}")]
    Damaged {
        /// The message.
        id: QueueId,
        /// What is wrong with it.
        reason: String,
    },
    /// The store is closed, until it is repaired or for good.
    #[error("the queue is closed: {reason}")]
    Closed {
        /// Why it was closed.
        reason: String,
    },
}

impl StoreError {
    /// Returns whether the store as a whole failed, so that the same operation may succeed later.
    /// The other errors are about one message and final for it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoRoom { .. }
            | Self::Io { .. }
            | Self::Database { .. }
            | Self::Locked { .. }
            | Self::Closed { .. } => true,
            Self::ClaimLost(_) | Self::Damaged { .. } => false,
        }
    }
}
