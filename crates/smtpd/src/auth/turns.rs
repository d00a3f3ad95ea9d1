//! One password at a time per client: whoever tries many at once waits for himself, not others
//! for him.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::client::Peer;

type Line = Arc<tokio::sync::Mutex<()>>;

/// The clients that have, or wait for, a turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lines: Mutex<HashMap<Peer, Line>>,
}

/// A client's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _guard: OwnedMutexGuard<()>,
    _place: Place,
}

/// A place in a client's line; the last to leave takes the line away.
#[derive(Debug)]
struct Place {
    turns: Arc<Turns>,
    client: Peer,
    line: Option<Line>,
}

impl Turns {
    /// Waits for this client's turn.
    pub(super) async fn take(self: &Arc<Self>, client: Peer) -> Turn {
        let line = Arc::clone(self.lock().entry(client).or_default());
        let place = Place {
            turns: Arc::clone(self),
            client,
            line: Some(Arc::clone(&line)),
        };
        Turn {
            _guard: line.lock_owned().await,
            _place: place,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Peer, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.lock();
        self.line = None;
        // Whoever else is in line holds it, too; new ones come by way of the table.
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
    async fn a_client_waits_for_itself_alone_and_leaves_no_trace() {
        let turns = Arc::new(Turns::default());
        let [one, other] = [1, 2].map(|last| Peer::At([192, 0, 2, last].into()));
        let first = turns.take(one).await;
        let elsewhere = turns.take(other).await;
        let wait = Duration::from_secs(1);
        assert!(timeout(wait, turns.take(one)).await.is_err());
        let second = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(one).await }
        });
        drop(first);
        drop(second.await.expect("a turn"));
        drop(elsewhere);
        assert!(turns.lock().is_empty());
    }
}
