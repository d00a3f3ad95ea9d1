//! A queue in memory, for tests and for the receiving side of the demonstration. It is not durable.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use relay_message::{
    Audit, Body, Books, Claim, Content, Envelope, HoldResult, Message, NewMessage, Origin, QueueId,
    QueueStore, Settled, Settlement, Spool, StoreError,
};

use crate::claims::Claims;
use crate::id_source::IdSource;

/// A [`QueueStore`] that keeps everything in memory.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    ids: IdSource,
    clock: Clock,
    claims: Claims,
    closed: AtomicBool,
}

/// The clock for the times in ids.
struct Clock(Box<dyn Fn() -> SystemTime + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[derive(Debug, Default)]
struct Queue {
    entries: BTreeMap<QueueId, Entry>,
    books: Books,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    head: Bytes,
    body: Bytes,
}

/// An incoming message.
#[derive(Debug)]
pub struct MemorySpool {
    id: QueueId,
    body: Vec<u8>,
}

impl Spool for MemorySpool {
    fn id(&self) -> QueueId {
        self.id
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }
}

impl MemoryStore {
    /// Returns an empty queue.
    #[expect(clippy::disallowed_methods, reason = "an id's time only has to rise")]
    pub fn new() -> Self {
        Self::with_clock(SystemTime::now)
    }

    /// Returns an empty queue whose ids use the time of this clock: the age of a message counts
    /// from [`QueueId::time`].
    pub fn with_clock(clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let shared = Shared {
            queue: Mutex::default(),
            ids: IdSource::default(),
            clock: Clock(Box::new(clock)),
            claims: Claims::default(),
            closed: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn queue(&self) -> Result<MutexGuard<'_, Queue>, StoreError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed {
                reason: "it was shut down".into(),
            });
        }
        Ok(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Queue {
    fn enter(&mut self, new: NewMessage) -> Message {
        let size = (new.head.len() + new.body.len()) as u64;
        let message = Message::new(new.id, new.arrived, new.origin, new.envelope, size);
        self.books
            .enter(message.origin, message.recipients.len() as u64);
        let entry = Entry {
            message: message.clone(),
            head: new.head,
            body: new.body,
        };
        self.entries.insert(new.id, entry);
        message
    }
}

impl QueueStore for MemoryStore {
    type Spool = MemorySpool;

    fn next_id(&self) -> QueueId {
        self.shared.ids.next((self.shared.clock.0)())
    }

    fn has_room(&self, _size: u64) -> Result<(), StoreError> {
        self.queue().map(drop)
    }

    fn begin(&self) -> Result<MemorySpool, StoreError> {
        drop(self.queue()?);
        Ok(MemorySpool {
            id: self.next_id(),
            body: Vec::new(),
        })
    }

    async fn commit(
        &self,
        spool: MemorySpool,
        envelope: Envelope,
        arrived: SystemTime,
        head: Bytes,
    ) -> Result<Message, StoreError> {
        let id = spool.id;
        let new = NewMessage {
            id,
            origin: Origin::Client,
            envelope,
            arrived,
            head,
            body: spool.body.into(),
        };
        Ok(self.queue()?.enter(new))
    }

    async fn scan(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let queue = self.queue()?;
        let rows = queue.entries.range((from, Bound::Unbounded)).take(limit);
        Ok(rows.map(|(_, entry)| entry.message.clone()).collect())
    }

    async fn get(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        let queue = self.queue()?;
        Ok(queue.entries.get(&id).map(|entry| entry.message.clone()))
    }

    async fn claim(&self, id: QueueId) -> Result<Option<(Claim, Message)>, StoreError> {
        let message = self.get(id).await?;
        Ok(message.map(|message| (self.shared.claims.take(id), message)))
    }

    async fn open(&self, claim: Claim) -> Result<Content, StoreError> {
        let queue = self.queue()?;
        let held = Some(claim.id).filter(|_| self.shared.claims.is_held(claim));
        let entry = held
            .and_then(|id| queue.entries.get(&id))
            .ok_or(StoreError::ClaimLost(claim.id))?;
        Ok(Content {
            head: entry.head.clone(),
            body: Body::Inline(entry.body.clone()),
        })
    }

    async fn settle(
        &self,
        claim: Claim,
        settlement: Settlement,
    ) -> Result<Option<Message>, StoreError> {
        let mut queue = self.queue()?;
        let queue = &mut *queue;
        if !self.shared.claims.is_held(claim) {
            return Err(StoreError::ClaimLost(claim.id));
        }
        let Some(entry) = queue.entries.get_mut(&claim.id) else {
            return Ok(None);
        };
        let before = Settled::of(&entry.message);
        entry.message.apply(settlement.recipients);
        entry.message.told_of_delay(&settlement.told_of_delay);
        queue.books.settle(before, &entry.message);
        let left = entry.message.clone();
        let left = Some(left).filter(|message| !message.is_settled());
        if left.is_none() {
            queue.entries.remove(&claim.id);
            self.shared.claims.end(claim.id);
        }
        for bounce in settlement.bounces {
            queue.enter(bounce);
        }
        Ok(left)
    }

    async fn set_held(&self, id: QueueId, held: bool) -> Result<Option<HoldResult>, StoreError> {
        let mut queue = self.queue()?;
        Ok(queue.entries.get_mut(&id).map(|entry| HoldResult {
            changed: entry.message.set_held(held),
            message: entry.message.clone(),
        }))
    }

    async fn delete(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        let mut queue = self.queue()?;
        let deleted = queue.entries.remove(&id).map(|entry| entry.message);
        if let Some(message) = &deleted {
            queue.books.discarded += message.outstanding();
            self.shared.claims.end(id);
        }
        Ok(deleted)
    }

    fn release(&self, claim: Claim) {
        self.shared.claims.release(claim);
    }

    fn count(&self) -> u64 {
        self.lock().entries.len() as u64
    }

    fn count_fresh(&self) -> u64 {
        self.lock()
            .entries
            .values()
            .filter(|entry| entry.message.is_fresh())
            .count() as u64
    }

    fn count_damaged(&self) -> u64 {
        0
    }

    fn books(&self) -> Books {
        self.lock().books
    }

    async fn audit(&self) -> Result<Audit, StoreError> {
        let queue = self.queue()?;
        let rows = queue.entries.values();
        Ok(Audit {
            books: queue.books,
            queued: rows.map(|entry| entry.message.outstanding()).sum(),
        })
    }

    async fn close(&self) -> Result<(), StoreError> {
        drop(self.queue()?);
        self.shared.closed.store(true, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn ids_have_the_time_of_the_given_clock() {
        let time = UNIX_EPOCH + Duration::from_hours(24);
        let store = MemoryStore::with_clock(move || time);
        assert_eq!(store.next_id().time(), time);
        assert_eq!(store.begin().expect("a spool").id().time(), time);
    }
}
