//! Computes signatures on threads of their own, so that sessions do not wait for them.

use std::thread;
use std::time::SystemTime;

use relay_dkim::{SignError, Signing};
use tokio::sync::{AcquireError, Semaphore};
use tokio::task::{self, JoinError};

/// Signs on blocking threads. An RSA signature can take a millisecond, in which a thread of
/// the executor can serve many sessions.
#[derive(Debug)]
pub(crate) struct SigningPool {
    /// One permit for each processor; more signatures at a time would only wait for each other.
    locks: Semaphore,
}

/// Why a message could not be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningPoolError {
    /// A key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The thread ended before it signed.
    #[error("signing was interrupted: {0}")]
    Interrupted(#[from] JoinError),
    /// The pool is closed.
    #[error("signing has been shut down")]
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

    /// Returns the signature fields of a message whose body has passed.
    pub(crate) async fn sign(
        &self,
        signing: Signing,
        now: SystemTime,
    ) -> Result<Vec<u8>, SigningPoolError> {
        let _turn = self.locks.acquire().await?;
        let signatures = task::spawn_blocking(move || signing.finish(now)).await?;
        Ok(signatures?)
    }
}
