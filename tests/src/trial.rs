//! A relay under load that gets a fault, and the checks afterwards.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{DEADLINE, Ledger, Load, Receivers, Relay, Verdict};

/// How long a queue of some thousand messages may take to empty.
const DRAINED: Duration = Duration::from_mins(3);

/// A relay, the hosts that its mail goes to, and the replies to its clients.
#[derive(Debug)]
pub struct Trial {
    /// The relay. It does not run until it is started.
    pub relay: Relay,
    /// The hosts. The one for later mail refuses it until [`Trial::settle`].
    pub receivers: Receivers,
    /// The replies to clients.
    pub ledger: Arc<Ledger>,
}

impl Trial {
    /// Prepares everything without sending anything. `extra` goes into the configuration.
    pub async fn prepare(extra: &str) -> Self {
        let receivers = Receivers::start().await;
        Self {
            relay: Relay::prepare(&(receivers.config() + extra)),
            receivers,
            ledger: Arc::default(),
        }
    }

    /// Starts clients with large messages and clients with small ones.
    pub fn load(&self) -> Load {
        Load::mixed(&self.relay, &self.ledger)
    }

    /// Waits until this many more messages have been acknowledged.
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

    /// Waits for a refusal, and returns all refusals since the last call.
    pub async fn refusals(&self) -> Vec<String> {
        let refused = Mutex::new(Vec::new());
        self.relay
            .wait_until("refusal", || {
                let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.extend(self.ledger.take_refusals());
                !refused.is_empty()
            })
            .await;
        refused.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts all mail from now on, and waits until the queue is empty. Checks that no file is
    /// left and that the books balance, and returns what happened to the acknowledged messages.
    pub async fn settle(&self) -> Verdict {
        assert!(self.drain().await, "the queue does not become empty");
        self.relay.done(&["audit"]);
        let no_files = || self.files().is_empty();
        self.relay.wait_until("end of body files", no_files).await;
        self.receivers.refuse_later();
        self.receivers.judge(&self.ledger)
    }

    /// Accepts all mail from now on. Returns whether the queue becomes empty.
    pub async fn drain(&self) -> bool {
        self.receivers.take_later();
        let drained = async {
            while self.relay.queued() > 0 {
                // Otherwise the host that was down for long would be left alone for a while.
                self.relay.ctl(&["queue", "retry", "--all", "--yes"]);
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(DRAINED, drained).await.is_ok()
    }

    /// The files in the directories for messages and for damaged ones.
    fn files(&self) -> Vec<String> {
        let folders = ["state/mess", "state/corrupt"];
        let names = folders.map(|folder| fs::read_dir(self.relay.path(folder)).expect("a folder"));
        let names = names.into_iter().flatten().flatten();
        names
            .map(|name| name.path().display().to_string())
            .collect()
    }
}
