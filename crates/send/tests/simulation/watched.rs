//! A store that counts its calls and can be made to fail for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use relay_message::{
    Audit, Books, Claim, Content, Envelope, HoldResult, Message, QueueId, QueueStore, Settlement,
    StoreError,
};

/// A store that counts its calls, all of which can be made to fail for a while.
#[derive(Debug, Clone)]
pub struct Watched<S> {
    pub inner: S,
    calls: Arc<AtomicU64>,
    outage: Arc<Mutex<Outage>>,
    lag: Duration,
    claims: Arc<Mutex<Vec<Claim>>>,
}

/// The operations that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    Nothing,
    Reading,
    /// The scan of the queue.
    Scanning,
    Writing,
    Opening,
    /// Nothing fails, but the disk has only its reserve left.
    Room,
    Everything,
}

impl<S> Watched<S> {
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            calls: Arc::default(),
            outage: Arc::new(Mutex::new(Outage::Nothing)),
            lag: Duration::ZERO,
            claims: Arc::default(),
        }
    }

    /// Delays each record that is read by `lag`, so that it may be out of date. Recording takes
    /// three times as long.
    pub fn lagging(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// The claims that have not been released.
    pub fn claims(&self) -> MutexGuard<'_, Vec<Claim>> {
        self.claims.lock().expect("nothing panics under this lock")
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn fail(&self, outage: Outage) {
        *self.outage.lock().expect("nothing panics under this lock") = outage;
    }

    fn pass(&self, kind: Outage) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let outage = *self.outage.lock().expect("nothing panics under this lock");
        if outage == kind || outage == Outage::Everything {
            return Err(StoreError::Io {
                doing: "pretending to work".into(),
                source: std::io::Error::other("outage"),
            });
        }
        Ok(())
    }
}

impl<S: QueueStore> QueueStore for Watched<S> {
    type Spool = S::Spool;

    fn next_id(&self) -> QueueId {
        self.inner.next_id()
    }

    fn has_room(&self, size: u64) -> Result<(), StoreError> {
        self.pass(Outage::Room)?;
        self.inner.has_room(size)
    }

    fn begin(&self) -> Result<S::Spool, StoreError> {
        self.inner.begin()
    }

    async fn commit(
        &self,
        spool: S::Spool,
        envelope: Envelope,
        arrived: SystemTime,
        head: Bytes,
    ) -> Result<Message, StoreError> {
        self.inner.commit(spool, envelope, arrived, head).await
    }

    async fn scan(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.pass(Outage::Reading)?;
        self.pass(Outage::Scanning)?;
        self.inner.scan(after, limit).await
    }

    async fn get(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        self.pass(Outage::Reading)?;
        let record = self.inner.get(id).await;
        tokio::time::sleep(self.lag).await;
        record
    }

    async fn claim(&self, id: QueueId) -> Result<Option<(Claim, Message)>, StoreError> {
        self.pass(Outage::Reading)?;
        let claimed = self.inner.claim(id).await;
        if let Ok(Some((claim, _))) = &claimed {
            self.claims().push(*claim);
        }
        tokio::time::sleep(self.lag).await;
        claimed
    }

    async fn open(&self, claim: Claim) -> Result<Content, StoreError> {
        self.pass(Outage::Opening)?;
        self.inner.open(claim).await
    }

    async fn settle(
        &self,
        claim: Claim,
        settlement: Settlement,
    ) -> Result<Option<Message>, StoreError> {
        self.pass(Outage::Writing)?;
        tokio::time::sleep(3 * self.lag).await;
        self.inner.settle(claim, settlement).await
    }

    async fn set_held(&self, id: QueueId, held: bool) -> Result<Option<HoldResult>, StoreError> {
        self.pass(Outage::Writing)?;
        self.inner.set_held(id, held).await
    }

    async fn delete(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        self.pass(Outage::Writing)?;
        self.inner.delete(id).await
    }

    fn release(&self, claim: Claim) {
        self.claims().retain(|taken| *taken != claim);
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
        self.inner.audit().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
