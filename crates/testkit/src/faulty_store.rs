//! For tests: a store that wraps any other store and lets chosen operations fail.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use relay_message::{
    Audit, Books, Claim, Content, Envelope, HoldResult, Message, QueueId, QueueStore, Settlement,
    Spool, StoreError,
};

/// A store that passes every operation on, except those that must fail.
#[derive(Debug, Clone)]
pub struct FaultyStore<S> {
    inner: S,
    faults: Faults,
}

/// Which operation fails: the n-th from now on, counted over all operations that use the disk.
#[derive(Debug, Clone)]
struct Faults {
    countdown: Arc<AtomicU64>,
}

/// No operation fails.
const NEVER: u64 = u64::MAX;

impl Faults {
    fn pass(&self, doing: &str) -> Result<(), StoreError> {
        let before = self
            .countdown
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                (left != NEVER).then(|| left.wrapping_sub(1))
            });
        match before {
            // The countdown wraps from 0 to `NEVER`, so only one operation fails.
            Ok(0) => Err(StoreError::Io {
                doing: doing.into(),
                source: io::Error::other("injected fault"),
            }),
            _ => Ok(()),
        }
    }
}

impl<S: QueueStore> FaultyStore<S> {
    /// Makes a store in which no operation fails yet.
    pub fn new(inner: S) -> Self {
        let faults = Faults {
            countdown: Arc::new(AtomicU64::new(NEVER)),
        };
        Self { inner, faults }
    }

    /// Lets `n` operations succeed and the one after them fail.
    pub fn fail_after(&self, n: u64) {
        self.faults.countdown.store(n, Ordering::SeqCst);
    }

    /// Whether the operation that must fail is still to come.
    pub fn is_armed(&self) -> bool {
        self.faults.countdown.load(Ordering::SeqCst) != NEVER
    }

    /// The inner store.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

/// A message that is coming in. Each of its writes may fail.
#[derive(Debug)]
pub struct FaultySpool<P> {
    inner: P,
    faults: Faults,
}

impl<P: Spool> Spool for FaultySpool<P> {
    fn id(&self) -> QueueId {
        self.inner.id()
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.faults.pass("writing a body")?;
        self.inner.write(bytes).await
    }
}

impl<S: QueueStore> QueueStore for FaultyStore<S> {
    type Spool = FaultySpool<S::Spool>;

    fn next_id(&self) -> QueueId {
        self.inner.next_id()
    }

    fn has_room(&self, size: u64) -> Result<(), StoreError> {
        self.inner.has_room(size)
    }

    fn begin(&self) -> Result<Self::Spool, StoreError> {
        self.faults.pass("making a body file")?;
        Ok(FaultySpool {
            inner: self.inner.begin()?,
            faults: self.faults.clone(),
        })
    }

    async fn commit(
        &self,
        spool: Self::Spool,
        envelope: Envelope,
        arrived: SystemTime,
        head: Bytes,
    ) -> Result<Message, StoreError> {
        self.faults.pass("committing")?;
        self.inner
            .commit(spool.inner, envelope, arrived, head)
            .await
    }

    async fn scan(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.faults.pass("scanning")?;
        self.inner.scan(after, limit).await
    }

    async fn get(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        self.faults.pass("reading a record")?;
        self.inner.get(id).await
    }

    async fn claim(&self, id: QueueId) -> Result<Option<(Claim, Message)>, StoreError> {
        self.faults.pass("claiming")?;
        self.inner.claim(id).await
    }

    async fn open(&self, claim: Claim) -> Result<Content, StoreError> {
        self.faults.pass("opening a body")?;
        self.inner.open(claim).await
    }

    async fn settle(
        &self,
        claim: Claim,
        settlement: Settlement,
    ) -> Result<Option<Message>, StoreError> {
        self.faults.pass("settling")?;
        self.inner.settle(claim, settlement).await
    }

    async fn set_held(&self, id: QueueId, held: bool) -> Result<Option<HoldResult>, StoreError> {
        self.faults.pass("setting a hold")?;
        self.inner.set_held(id, held).await
    }

    async fn delete(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        self.faults.pass("deleting")?;
        self.inner.delete(id).await
    }

    fn release(&self, claim: Claim) {
        self.inner.release(claim);
    }

    fn count(&self) -> u64 {
        self.inner.count()
    }

    fn count_fresh(&self) -> u64 {
        self.inner.count_fresh()
    }

    fn count_damaged(&self) -> u64 {
        self.inner.count_damaged()
    }

    fn books(&self) -> Books {
        self.inner.books()
    }

    async fn audit(&self) -> Result<Audit, StoreError> {
        self.faults.pass("auditing")?;
        self.inner.audit().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
