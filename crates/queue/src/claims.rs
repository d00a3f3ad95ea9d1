//! Who works on which message, for stores that one relay has to itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use relay_message::{Claim, QueueId};

/// The claims that are held; in memory, for they end with the process.
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
    /// A new claim; a former one on the same message is lost.
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

    /// Gives up the claim, if it is still held.
    pub(crate) fn release(&self, claim: Claim) {
        let mut held = self.lock();
        if held.tokens.get(&claim.id) == Some(&claim.token) {
            held.tokens.remove(&claim.id);
        }
    }

    /// Ends whatever claim there is on a message that is gone.
    pub(crate) fn end(&self, id: QueueId) {
        self.lock().tokens.remove(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        // Every change under this lock is a single insertion or removal: a panic leaves no half.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
