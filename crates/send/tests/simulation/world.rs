//! A relay without disk and network: the real runner and schedule over a store in memory, a
//! scripted rest of the world, and a clock that moves only while every task waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use relay_control::{Verb, VerbResult};
use relay_message::{Envelope, Message, QueueId, QueueStore, Recipient, Spool};
use relay_queue::MemoryStore;
use relay_send::{Clock, Concurrency, Config, Handle, ReportPolicy, RetryPolicy, StandingRules};
use relay_smtp::dsn::{DsnRequest, Notify};
use relay_smtp::{ForwardPath, Outcome};

pub use crate::answers::*;
pub use crate::internet::*;
pub use crate::watched::*;

pub const UNIT: Duration = Duration::from_secs(400);
/// The content of each message.
const TEXT: &[u8] = b"Subject: hello\r\n\r\nbody\r\n";
pub const DAY: Duration = Duration::from_hours(24);

/// A relay, its store and the rest of its world.
pub struct World<S: QueueStore = MemoryStore> {
    pub store: Arc<S>,
    pub internet: Arc<Internet>,
    pub clock: Timepiece,
    pub config: Config,
    pub sender: Handle<Internet>,
}

impl World {
    /// Starts a relay with the usual configuration and an empty queue.
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
        let internet = Arc::new(Internet::new(clock.clone(), script));
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

    /// Ends the runner within `bound`, and starts another on the same store.
    pub async fn restart(&mut self, bound: Duration) {
        self.sender.shutdown(bound).await;
        let (store, internet) = (Arc::clone(&self.store), Arc::clone(&self.internet));
        self.sender = relay_send::start(store, internet, self.config.clone(), self.clock.clone());
    }

    /// Commits a message, and gives it to the runner.
    pub async fn submit(&self, from: &str, to: &[String]) -> QueueId {
        let message = self.commit(from, to).await;
        self.sender.accepted(&message);
        message.id
    }

    /// Does the same with DSN options for each recipient.
    pub async fn submit_with_dsn(
        &self,
        from: &str,
        to: Vec<Recipient>,
        dsn: DsnRequest,
    ) -> QueueId {
        let message = self.commit_with_dsn(from, to, dsn).await;
        self.sender.accepted(&message);
        message.id
    }

    /// Commits a message without the runner's knowledge, and repeats that while the store fails.
    pub async fn commit(&self, from: &str, to: &[String]) -> Message {
        let to = to.iter().map(|to| with_notify(to, Notify::Unspecified));
        self.commit_with_dsn(from, to.collect(), DsnRequest::default())
            .await
    }

    async fn commit_with_dsn(&self, from: &str, to: Vec<Recipient>, dsn: DsnRequest) -> Message {
        let envelope = Envelope {
            dsn,
            ..envelope(from, to)
        };
        loop {
            if let Some(message) = self.try_commit(envelope.clone(), TEXT).await {
                return message;
            }
        }
    }

    /// Commits a message of so many octets, and gives it to the runner.
    pub async fn submit_large(&self, from: &str, to: &str, octets: usize) -> QueueId {
        let text = [TEXT, &b"x".repeat(octets)].concat();
        let envelope = envelope(from, vec![with_notify(to, Notify::Unspecified)]);
        let message = self.try_commit(envelope, &text).await;
        let message = message.expect("the store accepts it");
        self.sender.accepted(&message);
        message.id
    }

    async fn try_commit(&self, envelope: Envelope, text: &[u8]) -> Option<Message> {
        let mut spool = self.store.begin().ok()?;
        spool.write(text).await.ok()?;
        let head = Bytes::from_static(b"Received: by relay.test\r\n");
        let now = self.clock.now();
        self.store.commit(spool, envelope, now, head).await.ok()
    }

    /// Applies a verb of the operator to these messages.
    pub async fn apply(&self, verb: Verb, ids: Vec<QueueId>) -> VerbResult {
        let applied = self.sender.apply(verb, ids).await;
        applied.expect("the runner runs")
    }

    /// Lets time pass until the queue is empty and all tasks have ended.
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
        let status = self.sender.status().await.expect("the runner runs");
        assert_eq!((status.in_flight, status.waiting), (0, 0), "{status:?}");
        assert!(
            status.deliveries.is_empty() && status.destinations.is_empty(),
            "{status:?}"
        );
    }

    /// Returns when the recipient was tried, in seconds since the world began.
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
        reports: ReportPolicy::default(),
        signer: None,
        standing_rules: StandingRules::default(),
    }
}

fn envelope(from: &str, to: Vec<Recipient>) -> Envelope {
    Envelope {
        sender: from.parse().expect("a good address"),
        recipients: to,
        eight_bit: false,
        utf8: false,
        dsn: DsnRequest::default(),
    }
}

pub fn with_notify(to: &str, notify: Notify) -> Recipient {
    let address: ForwardPath = to.parse().expect("a good address");
    Recipient {
        notify,
        ..address.into()
    }
}

pub fn to(address: &str) -> Vec<String> {
    vec![address.to_owned()]
}
