//! The scripted rest of the world, and the clock that it shares with the relay.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_message::{Attempt, Body, Deliver, DestinationKey, QueueId, Recipient};
use relay_send::Clock;
use relay_smtp::dsn::{EnvelopeId, Notify};
use relay_smtp::{ForwardPath, Outcome, ReversePath, Verdict};
use tokio::time::Instant;

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

    /// Returns the time that has really passed.
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

/// The one domain whose host offers DSN.
pub const DSN_PEER: &str = "dsn.test";

/// The script of an attempt: how long it takes, and how it ends for each recipient.
pub type Script = Box<dyn Fn(&Tried) -> (Duration, Vec<Outcome>) + Send + Sync>;

/// One attempt as the world saw it.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The time since the world began.
    pub at: Duration,
    pub id: QueueId,
    pub sender: String,
    pub to: Vec<String>,
    /// `NOTIFY` of each recipient.
    pub notify: Vec<Notify>,
    pub envid: Option<EnvelopeId>,
    pub text: String,
}

impl Tried {
    fn new(attempt: &Attempt, at: Duration) -> Self {
        let Body::Inline(body) = &attempt.content.body else {
            panic!("the store in memory has no files");
        };
        let address = |to: &Recipient| to.path.as_str().to_owned();
        Self {
            at,
            id: attempt.id,
            sender: attempt.sender.as_str().to_owned(),
            to: attempt.recipients.iter().map(address).collect(),
            notify: attempt.recipients.iter().map(|to| to.notify).collect(),
            envid: attempt.dsn.envid.clone(),
            text: String::from_utf8_lossy(body).into_owned(),
        }
    }

    /// Ends the attempt the same way for all recipients, after `takes`.
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

/// The rest of the world. It panics if the relay breaks a rule.
pub struct Internet {
    script: Script,
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
    pub fn new(
        clock: Timepiece,
        script: impl Fn(&Tried) -> (Duration, Vec<Outcome>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            script: Box::new(script),
            route: Mutex::new(|domain| domain),
            clock,
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn tried(&self) -> Vec<Tried> {
        self.seen().tried.clone()
    }

    fn begin(&self, tried: &Tried) -> UnderWay<'_> {
        assert!(
            tried.to.len() <= 100,
            "a transaction has 100 recipients at most"
        );
        let domain = tried.domain().to_owned();
        let rows: Vec<_> = tried.to.iter().map(|to| (tried.id, to.clone())).collect();
        let mut seen = self.seen();
        for row in &rows {
            let is_new = seen.under_way.insert(row.clone());
            assert!(is_new, "{row:?} is in two attempts at once");
        }
        let running = seen.running.entry(domain.clone()).or_default();
        *running += 1;
        let running = *running;
        let most = seen.most.entry(domain.clone()).or_default();
        *most = running.max(*most);
        seen.tried.push(tried.clone());
        UnderWay {
            internet: self,
            domain,
            rows,
        }
    }

    /// Returns how often each recipient was delivered to.
    pub fn delivered(&self) -> BTreeMap<(QueueId, String), u32> {
        self.seen().delivered.clone()
    }

    /// Returns the most attempts that a destination ever had at once.
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

/// Records the end of an attempt even if it is aborted.
struct UnderWay<'a> {
    internet: &'a Internet,
    domain: String,
    rows: Vec<(QueueId, String)>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut seen = self.internet.seen();
        for row in &self.rows {
            seen.under_way.remove(row);
        }
        *seen.running.entry(self.domain.clone()).or_default() -= 1;
    }
}

impl Deliver for Internet {
    fn destination(&self, _sender: &ReversePath, recipient: &ForwardPath) -> DestinationKey {
        let route = *self.route.lock().expect("nothing panics under this lock");
        DestinationKey(route(domain(recipient.as_str())).into())
    }

    async fn deliver(&self, attempt: Attempt) -> Vec<Outcome> {
        let tried = Tried::new(&attempt, self.clock.elapsed());
        let under_way = self.begin(&tried);
        for place in 0..tried.to.len() {
            if tried.domain() == DSN_PEER {
                attempt.progress.passed_on(place);
            }
        }
        let (takes, outcomes) = (self.script)(&tried);
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        for (row, outcome) in under_way.rows.iter().zip(&outcomes) {
            if outcome.verdict == Verdict::Delivered {
                *self.seen().delivered.entry(row.clone()).or_default() += 1;
            }
        }
        outcomes
    }
}
