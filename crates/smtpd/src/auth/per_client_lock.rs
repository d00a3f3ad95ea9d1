//! Checks one password at a time for each client, so that a client with many logins at once delays
//! only itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::client::ClientId;

type ClientLock = Arc<tokio::sync::Mutex<()>>;

/// The clients that hold or wait for their lock.
#[derive(Debug, Default)]
pub(super) struct PerClientLocks {
    lines: Mutex<HashMap<ClientId, ClientLock>>,
}

/// The lock of a client, held until it is dropped.
#[derive(Debug)]
pub(super) struct PerClientLock {
    _guard: OwnedMutexGuard<()>,
    _place: LockEntry,
}

/// A reference to the lock of a client. The last one that is dropped removes the lock.
#[derive(Debug)]
struct LockEntry {
    locks: Arc<PerClientLocks>,
    client: ClientId,
    line: Option<ClientLock>,
}

impl PerClientLocks {
    /// Waits for the lock of this client.
    pub(super) async fn take(self: &Arc<Self>, client: ClientId) -> PerClientLock {
        let line = Arc::clone(self.lock().entry(client).or_default());
        let place = LockEntry {
            locks: Arc::clone(self),
            client,
            line: Some(Arc::clone(&line)),
        };
        PerClientLock {
            _guard: line.lock_owned().await,
            _place: place,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientId, ClientLock>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LockEntry {
    fn drop(&mut self) {
        let mut lines = self.locks.lock();
        self.line = None;
        // Others that wait hold a reference too; new ones get it through the table.
        if lines
            .get(&self.client)
            .is_some_and(|line| Arc::strong_count(line) == 1)
        {
            lines.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_waits_only_for_itself_and_its_lock_is_removed() {
        let locks = Arc::new(PerClientLocks::default());
        let [one, other] = [1, 2].map(|last| ClientId::Address([192, 0, 2, last].into()));
        let first = locks.take(one).await;
        let elsewhere = locks.take(other).await;
        let wait = Duration::from_secs(1);
        assert!(timeout(wait, locks.take(one)).await.is_err());
        let second = tokio::spawn({
            let locks = Arc::clone(&locks);
            async move { locks.take(one).await }
        });
        drop(first);
        drop(second.await.expect("a turn"));
        drop(elsewhere);
        assert!(locks.lock().is_empty());
    }
}
