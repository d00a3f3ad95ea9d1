//! A relay under load that something bad happens to, and what must hold afterwards.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{DEADLINE, Ledger, Load, Receivers, Relay, Verdict};

/// How long a queue of some thousand messages may take to empty.
const DRAINED: Duration = Duration::from_mins(3);

/// A relay, where its mail goes, and what its clients were told.
#[derive(Debug)]
pub struct Trial {
    /// It does not run until it is started.
    pub relay: Relay,
    /// The host that takes mail later refuses it until [`Trial::settle`].
    pub receivers: Receivers,
    /// What clients were told.
    pub ledger: Arc<Ledger>,
}

impl Trial {
    /// All of it; nothing has been sent. `extra` goes into the configuration.
    pub async fn prepare(extra: &str) -> Self {
        let receivers = Receivers::start().await;
        Self {
            relay: Relay::prepare(&(receivers.config() + extra)),
            receivers,
            ledger: Arc::default(),
        }
    }

    /// Clients with large messages and with small ones.
    pub fn load(&self) -> Load {
        Load::mixed(&self.relay, &self.ledger)
    }

    /// Returns once so many more messages have been acknowledged.
    pub async fn more(&self, count: usize) {
        let enough = self.ledger.count() + count;
        let waiting = async {
            while self.ledger.count() < enough {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = timeout(DEADLINE, waiting).await;
        let refusals = self.ledger.take_refusals();
        assert!(waited.is_ok(), "{refusals:?}; log:\n{}", self.relay.log());
    }

    /// Waits for a refusal; all of them since the last time.
    pub async fn refusals(&self) -> Vec<String> {
        let refused = Mutex::new(Vec::new());
        let has_some = || {
            let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.extend(self.ledger.take_refusals());
            !refused.is_empty()
        };
        self.relay.wait_until("refusal", has_some).await;
        refused.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything is taken from now on: what has become of all that was acknowledged, once the queue
    /// is empty. Nothing may be left behind, and the books must balance.
    pub async fn settle(&self) -> Verdict {
        assert!(self.drain().await, "the queue does not empty");
        self.relay.done(&["audit"]);
        let no_files = || self.files().is_empty();
        self.relay.wait_until("end of body files", no_files).await;
        self.receivers.refuse_later();
        self.receivers.judge(&self.ledger)
    }

    /// Everything is taken from now on; whether the queue empties.
    pub async fn drain(&self) -> bool {
        self.receivers.take_later();
        let drained = async {
            while self.relay.queued() > 0 {
                // The host that was down so long is left alone for a while otherwise.
                self.relay.ctl(&["queue", "retry", "--all", "--yes"]);
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(DRAINED, drained).await.is_ok()
    }

    /// What lies where messages do, or where damaged ones are kept.
    fn files(&self) -> Vec<String> {
        let folders = ["state/mess", "state/corrupt"];
        let names = folders.map(|folder| fs::read_dir(self.relay.path(folder)).expect("a folder"));
        let names = names.into_iter().flatten().flatten();
        names
            .map(|name| name.path().display().to_string())
            .collect()
    }
}
