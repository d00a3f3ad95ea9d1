//! The claims on messages, for a store that only one relay uses.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use relay_message::{Claim, QueueId};

/// The current claims. They are in memory only: they end with the process.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    last: u64,
    tokens: HashMap<QueueId, u64>,
}

impl Claims {
    /// Returns a new claim. An earlier claim on the same message is lost.
    pub(crate) fn take(&self, id: QueueId) -> Claim {
        let mut held = self.lock();
        held.last += 1;
        let token = held.last;
        held.tokens.insert(id, token);
        Claim { id, token }
    }

    pub(crate) fn is_held(&self, claim: Claim) -> bool {
        self.lock().tokens.get(&claim.id) == Some(&claim.token)
    }

    /// Releases the claim, if it is still held.
    pub(crate) fn release(&self, claim: Claim) {
        let mut held = self.lock();
        if held.tokens.get(&claim.id) == Some(&claim.token) {
            held.tokens.remove(&claim.id);
        }
    }

    /// Ends the claim on a message that has left.
    pub(crate) fn end(&self, id: QueueId) {
        self.lock().tokens.remove(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        // Each change under this lock is a single insertion or removal, so a panic cannot leave
        // half of one.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
