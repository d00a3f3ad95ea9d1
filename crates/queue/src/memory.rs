//! A queue in memory: for tests, and for the demonstration's receiving end. Nothing in it is durable.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::claims::Claims;
use crate::error::StoreError;
use crate::id::{IdSource, QueueId};
use crate::message::{Body, Content, Envelope, Message, NewMessage, Origin};
use crate::store::{Claim, QueueStore, Settlement, Spool};

/// A [`QueueStore`] that keeps everything in memory.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    entries: Mutex<BTreeMap<QueueId, Entry>>,
    ids: IdSource,
    clock: Clock,
    claims: Claims,
    closed: AtomicBool,
}

/// Where the times in ids come from.
struct Clock(Box<dyn Fn() -> SystemTime + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[derive(Debug)]
struct Entry {
    message: Message,
    head: Bytes,
    body: Bytes,
}

/// A message coming in.
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
    /// An empty queue.
    #[expect(clippy::disallowed_methods, reason = "an id's time only has to rise")]
    pub fn new() -> Self {
        Self::with_clock(SystemTime::now)
    }

    /// An empty queue whose ids tell the time of this clock: [`QueueId::time`] is when a message
    /// begins to age.
    pub fn with_clock(clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let shared = Shared {
            entries: Mutex::default(),
            ids: IdSource::default(),
            clock: Clock(Box::new(clock)),
            claims: Claims::default(),
            closed: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn entries(&self) -> Result<MutexGuard<'_, BTreeMap<QueueId, Entry>>, StoreError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed {
                reason: "it was shut down".into(),
            });
        }
        Ok(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<QueueId, Entry>> {
        self.shared
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

fn enter(entries: &mut BTreeMap<QueueId, Entry>, new: NewMessage) {
    let size = (new.head.len() + new.body.len()) as u64;
    let entry = Entry {
        message: Message::new(new.id, new.arrived, new.origin, new.envelope, size),
        head: new.head,
        body: new.body,
    };
    entries.insert(new.id, entry);
}

impl QueueStore for MemoryStore {
    type Spool = MemorySpool;

    fn next_id(&self) -> QueueId {
        self.shared.ids.next((self.shared.clock.0)())
    }

    fn has_room(&self, _size: u64) -> Result<(), StoreError> {
        self.entries().map(drop)
    }

    fn begin(&self) -> Result<MemorySpool, StoreError> {
        drop(self.entries()?);
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
        let mut entries = self.entries()?;
        enter(&mut entries, new);
        Ok(entries[&id].message.clone())
    }

    async fn scan(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries()?;
        let rows = entries.range((from, Bound::Unbounded)).take(limit);
        Ok(rows.map(|(_, entry)| entry.message.clone()).collect())
    }

    async fn get(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        Ok(self.entries()?.get(&id).map(|entry| entry.message.clone()))
    }

    async fn claim(&self, id: QueueId) -> Result<Option<(Claim, Message)>, StoreError> {
        let message = self.get(id).await?;
        Ok(message.map(|message| (self.shared.claims.take(id), message)))
    }

    async fn open(&self, claim: Claim) -> Result<Content, StoreError> {
        let entries = self.entries()?;
        let held = Some(claim.id).filter(|_| self.shared.claims.is_held(claim));
        let entry = held
            .and_then(|id| entries.get(&id))
            .ok_or(StoreError::ClaimLost(claim.id))?;
        Ok(Content {
            head: entry.head.clone(),
            body: Body::Inline(entry.body.clone()),
        })
    }

    async fn settle(&self, claim: Claim, settlement: Settlement) -> Result<bool, StoreError> {
        let mut entries = self.entries()?;
        if !self.shared.claims.is_held(claim) {
            return Err(StoreError::ClaimLost(claim.id));
        }
        let Some(entry) = entries.get_mut(&claim.id) else {
            return Ok(true);
        };
        entry.message.apply(settlement.recipients);
        entry.message.told_of_delay(&settlement.told_of_delay);
        let has_left = entry.message.is_settled();
        if has_left {
            entries.remove(&claim.id);
            self.shared.claims.end(claim.id);
        }
        for bounce in settlement.bounces {
            enter(&mut entries, bounce);
        }
        Ok(has_left)
    }

    fn release(&self, claim: Claim) {
        self.shared.claims.release(claim);
    }

    fn count(&self) -> u64 {
        self.lock().len() as u64
    }

    fn count_fresh(&self) -> u64 {
        self.lock()
            .values()
            .filter(|entry| entry.message.is_fresh())
            .count() as u64
    }

    fn count_damaged(&self) -> u64 {
        0
    }

    async fn close(&self) -> Result<(), StoreError> {
        drop(self.entries()?);
        self.shared.closed.store(true, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn ids_tell_the_time_of_the_clock_they_were_given() {
        let time = UNIX_EPOCH + Duration::from_hours(24);
        let store = MemoryStore::with_clock(move || time);
        assert_eq!(store.next_id().time(), time);
        assert_eq!(store.begin().expect("a spool").id().time(), time);
    }
}
