//! A relay without disk and network: the real runner and schedule over a store in memory, a scripted
//! rest of the world, and a clock that stands still unless everybody waits.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use relay_queue::{
    Body, Claim, Content, Envelope, MemoryStore, Message, QueueId, QueueStore, Settlement, Spool,
    StoreError,
};
use relay_send::{
    Attempt, Clock, Concurrency, Config, Deliver, DestinationKey, Handle, RetryPolicy,
};
use relay_smtp::{EnhancedStatus, ForwardPath, Outcome, Peer, Reply, ReversePath, Stage, Verdict};
use tokio::time::Instant;

pub const UNIT: Duration = Duration::from_secs(400);
pub const DAY: Duration = Duration::from_hours(24);

/// Tokio's paused time, as a time of day that can be set.
#[derive(Debug, Clone)]
pub struct Timepiece {
    began: Instant,
    set_by: Arc<AtomicI64>,
}

impl Timepiece {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            set_by: Arc::default(),
        }
    }

    /// Sets the clock forward or back by so many seconds.
    pub fn set_by(&self, seconds: i64) {
        self.set_by.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Time that has really passed.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Clock for Timepiece {
    fn now(&self) -> SystemTime {
        let shown = UNIX_EPOCH + Duration::from_hours(500_000) + self.elapsed();
        let set_by = self.set_by.load(Ordering::SeqCst);
        let by = Duration::from_secs(set_by.unsigned_abs());
        if set_by < 0 { shown - by } else { shown + by }
    }
}

/// What the world does with one attempt: how long it takes, and how it ends for each recipient.
pub type Script = Box<dyn Fn(&Tried) -> (Duration, Vec<Outcome>) + Send + Sync>;

/// One attempt as the world saw it.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Since the world began.
    pub at: Duration,
    pub id: QueueId,
    pub sender: String,
    pub to: Vec<String>,
    /// The message's first kilobytes.
    pub text: String,
}

impl Tried {
    /// All recipients end the same way, after a while.
    pub fn all(&self, takes: Duration, outcome: &Outcome) -> (Duration, Vec<Outcome>) {
        (takes, vec![outcome.clone(); self.to.len()])
    }

    pub fn domain(&self) -> &str {
        domain(&self.to[0])
    }
}

pub fn domain(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}

/// The rest of the world, which holds the relay to what must never happen.
pub struct Internet {
    script: Mutex<Arc<Script>>,
    route: Mutex<fn(&str) -> &str>,
    clock: Timepiece,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    tried: Vec<Tried>,
    under_way: HashSet<(QueueId, String)>,
    delivered: BTreeMap<(QueueId, String), u32>,
    running: BTreeMap<String, u32>,
    most: BTreeMap<String, u32>,
}

impl Internet {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn tried(&self) -> Vec<Tried> {
        self.seen().tried.clone()
    }

    /// How often each recipient was delivered to.
    pub fn delivered(&self) -> BTreeMap<(QueueId, String), u32> {
        self.seen().delivered.clone()
    }

    /// The most attempts that a destination ever had at once.
    pub fn most(&self, destination: &str) -> u32 {
        self.seen()
            .most
            .get(destination)
            .copied()
            .unwrap_or_default()
    }

    pub fn route(&self, route: fn(&str) -> &str) {
        *self.route.lock().expect("nothing panics under this lock") = route;
    }
}

/// Notes the end of an attempt even if it is broken off.
struct UnderWay<'a>(&'a Internet, String, Vec<(QueueId, String)>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut seen = self.0.seen();
        for row in &self.2 {
            seen.under_way.remove(row);
        }
        *seen.running.entry(self.1.clone()).or_default() -= 1;
    }
}

impl Deliver for Internet {
    fn destination(&self, _sender: &ReversePath, recipient: &ForwardPath) -> DestinationKey {
        let route = *self.route.lock().expect("nothing panics under this lock");
        DestinationKey(route(domain(recipient.as_str())).into())
    }

    async fn deliver(&self, attempt: Attempt) -> Vec<Outcome> {
        let Body::Inline(body) = &attempt.content.body else {
            panic!("the store in memory has no files");
        };
        let to: Vec<String> = attempt
            .recipients
            .iter()
            .map(|r| r.as_str().to_owned())
            .collect();
        let tried = Tried {
            at: self.clock.elapsed(),
            id: attempt.id,
            sender: attempt.sender.as_str().to_owned(),
            to: to.clone(),
            text: String::from_utf8_lossy(body).into_owned(),
        };
        assert!(to.len() <= 100, "a transaction has 100 recipients at most");
        let destination = tried.domain().to_owned();
        let rows: Vec<_> = to.iter().map(|to| (attempt.id, to.clone())).collect();
        {
            let mut seen = self.seen();
            for row in &rows {
                assert!(
                    seen.under_way.insert(row.clone()),
                    "{row:?} is tried twice at once"
                );
            }
            let running = seen.running.entry(destination.clone()).or_default();
            *running += 1;
            let running = *running;
            let most = seen.most.entry(destination.clone()).or_default();
            *most = running.max(*most);
            seen.tried.push(tried.clone());
        }
        let under_way = UnderWay(self, destination, rows);
        let script = Arc::clone(&self.script.lock().expect("nothing panics under this lock"));
        let (takes, outcomes) = script(&tried);
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        for (to, outcome) in to.iter().zip(&outcomes) {
            if outcome.verdict == Verdict::Delivered {
                *self
                    .seen()
                    .delivered
                    .entry((attempt.id, to.clone()))
                    .or_default() += 1;
            }
        }
        drop(under_way);
        outcomes
    }
}

/// The relay in its world.
pub struct World<S: QueueStore = MemoryStore> {
    pub store: Arc<S>,
    pub internet: Arc<Internet>,
    pub clock: Timepiece,
    pub config: Config,
    pub sender: Handle<Internet>,
}

impl World {
    /// The usual numbers, nothing in the queue.
    pub fn new(
        script: impl Fn(&Tried) -> (Duration, Vec<Outcome>) + Send + Sync + 'static,
    ) -> Self {
        let clock = Timepiece::new();
        let ids = clock.clone();
        Self::over(MemoryStore::with_clock(move || ids.now()), clock, script)
    }
}

impl<S: QueueStore> World<S> {
    pub fn over(
        store: S,
        clock: Timepiece,
        script: impl Fn(&Tried) -> (Duration, Vec<Outcome>) + Send + Sync + 'static,
    ) -> Self {
        let internet = Arc::new(Internet {
            script: Mutex::new(Arc::new(Box::new(script))),
            route: Mutex::new(|domain| domain),
            clock: clock.clone(),
            seen: Mutex::default(),
        });
        let store = Arc::new(store);
        let sender = relay_send::start(
            Arc::clone(&store),
            Arc::clone(&internet),
            config(),
            clock.clone(),
        );
        Self {
            store,
            internet,
            clock,
            config: config(),
            sender,
        }
    }

    /// Ends the runner within `bound` and starts another on the same store.
    pub async fn restart(&mut self, bound: Duration) {
        self.sender.shutdown(bound).await;
        let (store, internet) = (Arc::clone(&self.store), Arc::clone(&self.internet));
        self.sender = relay_send::start(store, internet, self.config.clone(), self.clock.clone());
    }

    /// Commits a message, and tells the runner.
    pub async fn submit(&self, from: &str, to: &[String]) -> QueueId {
        let message = self.commit(from, to).await;
        self.sender.accepted(&message);
        message.id
    }

    /// Commits a message behind the runner's back; a store that fails is asked until it does not.
    pub async fn commit(&self, from: &str, to: &[String]) -> Message {
        loop {
            if let Some(message) = self.try_commit(from, to).await {
                return message;
            }
        }
    }

    async fn try_commit(&self, from: &str, to: &[String]) -> Option<Message> {
        let mut spool = self.store.begin().ok()?;
        spool.write(b"Subject: hello\r\n\r\nbody\r\n").await.ok()?;
        let envelope = Envelope {
            sender: from.parse().expect("a good address"),
            recipients: to
                .iter()
                .map(|to| to.parse().expect("a good address"))
                .collect(),
            eight_bit: false,
            utf8: false,
        };
        let head = Bytes::from_static(b"Received: by relay.test\r\n");
        let now = self.clock.now();
        self.store.commit(spool, envelope, now, head).await.ok()
    }

    /// Lets time pass until the queue is empty, and everybody is done with it.
    pub async fn until_empty(&self, limit: Duration) {
        let step = Duration::from_secs(10);
        let deadline = self.clock.elapsed() + limit;
        while self.store.count() > 0 {
            assert!(
                self.clock.elapsed() < deadline,
                "{:?}",
                self.sender.status().await
            );
            tokio::time::sleep(step).await;
        }
        self.assert_nothing_is_kept().await;
    }

    pub async fn assert_nothing_is_kept(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let status = self.sender.status().await.expect("it runs");
        assert_eq!((status.in_flight, status.waiting), (0, 0), "{status:?}");
        assert!(
            status.deliveries.is_empty() && status.destinations.is_empty(),
            "{status:?}"
        );
    }

    /// When the recipient was tried, in seconds since the world began.
    pub fn times(&self, to: &str) -> Vec<u64> {
        let tried = self.internet.tried();
        let mine = tried.iter().filter(|t| t.to.iter().any(|a| a == to));
        mine.map(|t| t.at.as_secs()).collect()
    }
}

pub async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

pub fn config() -> Config {
    Config {
        hostname: "relay.test".into(),
        postmaster: "postmaster@home.test".parse().expect("a good address"),
        retry: RetryPolicy {
            lifetime: 5 * DAY,
            unit: UNIT,
            max_interval: Duration::from_hours(4),
        },
        concurrency: Concurrency {
            overall: 120,
            per_destination: 20,
        },
    }
}

pub fn to(address: &str) -> Vec<String> {
    vec![address.to_owned()]
}

pub fn delivered() -> Outcome {
    said(
        Verdict::Delivered,
        Stage::Message,
        Reply::new(250, 0, 0, "ok"),
    )
}

/// A 4xx to RCPT: this recipient, later.
pub fn deferred() -> Outcome {
    said(
        Verdict::Deferred,
        Stage::Rcpt,
        Reply::new(450, 2, 0, "come back later"),
    )
}

/// A 4xx to MAIL.
pub fn slowed() -> Outcome {
    said(
        Verdict::Deferred,
        Stage::Mail,
        Reply::new(451, 7, 1, "not you, not now"),
    )
}

pub fn failed() -> Outcome {
    said(
        Verdict::Failed,
        Stage::Rcpt,
        Reply::new(550, 1, 1, "no such user"),
    )
}

/// Nobody there.
pub fn unreachable() -> Outcome {
    Outcome {
        verdict: Verdict::Deferred,
        status: EnhancedStatus::transient(4, 1),
        stage: Stage::Connect,
        peer: None,
        reply: None,
        detail: "connection refused".into(),
    }
}

fn said(verdict: Verdict, stage: Stage, reply: Reply) -> Outcome {
    Outcome {
        verdict,
        status: reply.status().expect("all of these have one"),
        stage,
        peer: Some(Peer {
            host: "mx.far.test".into(),
            address: ([192, 0, 2, 1], 25).into(),
        }),
        reply: Some(reply),
        detail: String::new(),
    }
}

/// Calls of the store, counted, all of which can be made to fail for a while.
#[derive(Debug, Clone)]
pub struct Watched<S> {
    pub inner: S,
    calls: Arc<AtomicU64>,
    outage: Arc<Mutex<Outage>>,
    holds: Arc<AtomicBool>,
}

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    Nothing,
    Reading,
    Writing,
    Opening,
    Everything,
}

impl<S> Watched<S> {
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            calls: Arc::default(),
            outage: Arc::new(Mutex::new(Outage::Nothing)),
            holds: Arc::default(),
        }
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Whether every record says that its message is held.
    pub fn hold(&self, holds: bool) {
        self.holds.store(holds, Ordering::SeqCst);
    }

    fn read(&self, mut message: Message) -> Message {
        message.held = self.holds.load(Ordering::SeqCst);
        message
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
        let page = self.inner.scan(after, limit).await?;
        Ok(page.into_iter().map(|m| self.read(m)).collect())
    }

    async fn get(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        self.pass(Outage::Reading)?;
        Ok(self.inner.get(id).await?.map(|m| self.read(m)))
    }

    async fn claim(&self, id: QueueId) -> Result<Option<(Claim, Message)>, StoreError> {
        self.pass(Outage::Reading)?;
        let claimed = self.inner.claim(id).await?;
        Ok(claimed.map(|(claim, m)| (claim, self.read(m))))
    }

    async fn open(&self, claim: Claim) -> Result<Content, StoreError> {
        self.pass(Outage::Opening)?;
        self.inner.open(claim).await
    }

    async fn settle(&self, claim: Claim, settlement: Settlement) -> Result<bool, StoreError> {
        self.pass(Outage::Writing)?;
        self.inner.settle(claim, settlement).await
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

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
