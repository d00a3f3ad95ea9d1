//! The progress of an attempt.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relay_message::Progress;
use tokio::time::Instant;

/// Keeps the progress that an attempt reports, until its outcomes are recorded.
#[derive(Debug)]
pub(crate) struct ProgressRecord {
    began: Instant,
    reached: Mutex<Reached>,
}

#[derive(Debug, Default)]
struct Reached {
    connected: Option<Duration>,
    /// Recipients, by their index in the attempt, whose reports the peer makes.
    passed_on: BTreeSet<usize>,
}

impl ProgressRecord {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            reached: Mutex::default(),
        }
    }

    /// Returns the time until a session was ready, if one was.
    pub(crate) fn until_connected(&self) -> Option<Duration> {
        self.lock().connected
    }

    pub(crate) fn is_passed_on(&self, recipient: usize) -> bool {
        self.lock().passed_on.contains(&recipient)
    }

    fn lock(&self) -> MutexGuard<'_, Reached> {
        // A panic cannot leave half a change under this lock.
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for ProgressRecord {
    fn connected(&self) {
        self.lock().connected = Some(self.began.elapsed());
    }

    fn passed_on(&self, recipient: usize) {
        self.lock().passed_on.insert(recipient);
    }
}
