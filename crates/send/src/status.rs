//! The state of deliveries, for the control API.

use std::time::SystemTime;

use relay_message::{DestinationKey, QueueId};

use crate::destination_queue::DestinationStatus;

/// The state of the queue.
#[derive(Debug, Clone)]
pub struct Status {
    /// Attempts under way.
    pub in_flight: u32,
    /// Jobs (a message at a destination) that are waiting.
    pub waiting: usize,
    /// Whether the whole queue on disk has been read since the start or the last reload.
    pub is_complete: bool,
    /// Why no attempt begins, if the store fails.
    pub store_trouble: Option<StoreTrouble>,
    /// The destinations that have work.
    pub destinations: Vec<DestinationStatus>,
    /// Reports discarded since the start because their addressees had reached the limit.
    pub reports_suppressed: u64,
    /// The destinations that are suspended, with work or without.
    pub suspended: Vec<DestinationKey>,
    /// The attempts under way: message and destination.
    pub deliveries: Vec<(QueueId, DestinationKey)>,
}

/// A store that fails. Until it works again, no attempt begins, as its result could not be
/// recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTrouble {
    /// When the failure began.
    pub since: SystemTime,
    /// Its last error.
    pub reason: String,
}
