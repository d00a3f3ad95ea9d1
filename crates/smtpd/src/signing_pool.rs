//! Signatures, computed where they hold no session up.

use std::thread;
use std::time::SystemTime;

use relay_dkim::{SignError, Signing};
use tokio::sync::{AcquireError, Semaphore};
use tokio::task::{self, JoinError};

/// Signs on threads of its own: an RSA signature takes a good part of a millisecond, in which a thread
/// of the executor could have served many sessions.
#[derive(Debug)]
pub(crate) struct SigningPool {
    /// As many signatures at a time as there are processors; more would only wait for each other.
    locks: Semaphore,
}

/// Why a message that is to be signed could not be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    /// A key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The thread has ended before it had signed.
    #[error("signing was broken off: {0}")]
    BrokenOff(#[from] JoinError),
    /// No turns are given any more.
    #[error("signing has ended")]
    Ended(#[from] AcquireError),
}

impl SigningPool {
    pub(crate) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            locks: Semaphore::new(processors),
        }
    }

    /// From now on nothing can be signed.
    #[cfg(test)]
    pub(crate) fn end(&self) {
        self.locks.close();
    }

    /// The signature fields of a message whose body has passed.
    pub(crate) async fn sign(
        &self,
        signing: Signing,
        now: SystemTime,
    ) -> Result<Vec<u8>, SigningError> {
        let _turn = self.locks.acquire().await?;
        let signatures = task::spawn_blocking(move || signing.finish(now)).await?;
        Ok(signatures?)
    }
}
