//! A message at one destination: what it waits for, and what to do with it.

use std::time::SystemTime;

use relay_message::{DestinationKey, QueueId};
use relay_smtp::Outcome;

/// A message that is to wait at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The message.
    pub id: QueueId,
    /// When it was accepted.
    pub arrived: SystemTime,
    /// What it waits for.
    pub due: Due,
    /// Whether the sender gets a delay notice.
    pub owes_notice: bool,
}

/// What a job waits for, beside a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A time.
    At(SystemTime),
    /// Its destination, which was in trouble when the job was tried at `since`. If others have been
    /// answered meanwhile, the trouble is the message's own, and it waits for `otherwise`.
    Recovery {
        /// When the job met the trouble.
        since: SystemTime,
        /// The message's own next time.
        otherwise: SystemTime,
    },
}

impl Due {
    /// Combines what two recipients of one job wait for.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
            (Self::At(time), Self::Recovery { since, .. })
            | (Self::Recovery { since, .. }, Self::At(time))
                if time <= since =>
            {
                Self::At(time)
            }
            (Self::At(time), Self::Recovery { since, otherwise })
            | (Self::Recovery { since, otherwise }, Self::At(time)) => Self::Recovery {
                since,
                otherwise: otherwise.min(time),
            },
            (
                Self::Recovery { since, otherwise },
                Self::Recovery {
                    since: s,
                    otherwise: o,
                },
            ) => Self::Recovery {
                since: since.min(s),
                otherwise: otherwise.min(o),
            },
        }
    }
}

/// A job that is to begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The message.
    pub id: QueueId,
    /// When it was accepted, to the microsecond.
    pub arrived: SystemTime,
    /// The destination.
    pub destination: DestinationKey,
    /// What to do.
    pub task: Task,
}

/// What to do with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Try to deliver to the recipients that are due.
    Attempt,
    /// Try to deliver to all recipients that are not settled, as the operator has ordered.
    Force,
    /// Expire: the message is too old, and its destination is in back-off for this reason.
    Expire(Box<Outcome>),
    /// Send a delay notice, with the reason if one is known.
    Notice(Option<Box<Outcome>>),
}

impl Task {
    /// Whether it takes a slot: mail is to be sent.
    pub(crate) fn takes_slot(&self) -> bool {
        match self {
            Self::Attempt | Self::Force => true,
            Self::Expire(_) | Self::Notice(_) => false,
        }
    }
}
