//! The state of deliveries, for those who ask.

use std::time::SystemTime;

use relay_message::{DestinationKey, QueueId};

use crate::destination_queue::DestinationStatus;

/// How the queue stands at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// Attempts under way.
    pub in_flight: u32,
    /// Jobs (a message at a destination) that wait.
    pub waiting: usize,
    /// Whether the queue on disk has been read whole since the start, or since a reload.
    pub is_complete: bool,
    /// Why nothing begins, if the store does not do as asked.
    pub store_trouble: Option<StoreTrouble>,
    /// The destinations that have work.
    pub destinations: Vec<DestinationStatus>,
    /// Reports that were not made since the start, for their senders had had too many.
    pub reports_suppressed: u64,
    /// The destinations that are suspended, with work or without.
    pub suspended: Vec<DestinationKey>,
    /// What is being delivered right now, where to.
    pub deliveries: Vec<(QueueId, DestinationKey)>,
}

/// A store that does not do as asked: until it does, nothing is begun that could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTrouble {
    /// When that began.
    pub since: SystemTime,
    /// What it said last.
    pub reason: String,
}
