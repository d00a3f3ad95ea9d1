//! The task that owns the schedule: it takes in what is new, starts what is due, and keeps track of
//! what is under way. Everything else of this crate it calls; nothing else calls it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relay_queue::{Message, QueueId, QueueStore};
use relay_smtp::Mailbox;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::attempt::{Context, News, SharedClaim, jobs, owes_report};
use crate::bounce::Reporter;
use crate::clock::Clock;
use crate::deliver::{Deliver, DestinationKey};
use crate::events;
use crate::retry::RetryPolicy;
use crate::schedule::{Concurrency, DestinationStatus, Schedule};

/// Records that the start reads at once.
const PAGE: usize = 1000;
/// Commands and news taken in before the schedule is looked at again.
const TURN: usize = 256;
/// How long to wait before a scan that failed is tried again.
const SCAN_PAUSE: Duration = Duration::from_secs(2);

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name.
    pub hostname: String,
    /// Who is told of bounces that fail.
    pub postmaster: Mailbox,
    /// How long and how often to try.
    pub retry: RetryPolicy,
    /// How much at once.
    pub concurrency: Concurrency,
}

/// How the queue stands at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// Attempts under way.
    pub in_flight: u32,
    /// Jobs (a message at a destination) that wait.
    pub waiting: usize,
    /// Whether the queue on disk has been read whole since the start.
    pub is_complete: bool,
    /// The destinations that have work.
    pub destinations: Vec<DestinationStatus>,
    /// What is being delivered right now, where to.
    pub deliveries: Vec<(QueueId, DestinationKey)>,
}

enum Command {
    Accepted(Vec<(DestinationKey, SystemTime)>, QueueId),
    Scanned(Vec<Message>),
    ScanEnded(u64),
    Reconfigure(Box<Config>),
    RetryNow(Option<DestinationKey>, oneshot::Sender<usize>),
    Status(oneshot::Sender<Status>),
    Shutdown(Duration, oneshot::Sender<()>),
}

/// The way to a running sender.
#[derive(Debug)]
pub struct Handle<D> {
    commands: mpsc::UnboundedSender<Command>,
    deliver: Arc<D>,
}

impl<D> Clone for Handle<D> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            deliver: Arc::clone(&self.deliver),
        }
    }
}

impl<D: Deliver> Handle<D> {
    /// A message has been committed to the queue.
    pub fn accepted(&self, message: &Message) {
        let destination =
            |r: &relay_queue::Recipient| self.deliver.destination(&message.sender, &r.address);
        self.send(Command::Accepted(jobs(message, destination), message.id));
    }

    /// Other numbers, and perhaps other routes: everything that waits is put in its line anew.
    pub fn reconfigure(&self, config: Config) {
        self.send(Command::Reconfigure(Box::new(config)));
    }

    /// Makes what waits for a destination, or for any, due now; how many jobs that were.
    pub async fn retry_now(&self, destination: Option<DestinationKey>) -> usize {
        let (answer, answered) = oneshot::channel();
        self.send(Command::RetryNow(destination, answer));
        answered.await.unwrap_or_default()
    }

    /// How the queue stands; `None` when the sender has been shut down.
    pub async fn status(&self) -> Option<Status> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Status(answer));
        answered.await.ok()
    }

    /// Starts nothing more, waits for what is under way for at most `bound`, and ends. What has not
    /// ended by then is tried again at the next start.
    pub async fn shutdown(&self, bound: Duration) {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Shutdown(bound, answer));
        let _ = answered.await;
    }

    /// After the shutdown nobody listens, and nobody needs to: the store knows every message.
    fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

/// Work on one message, which shares a claim.
#[derive(Default)]
struct Flight {
    claim: SharedClaim,
    jobs: Vec<DestinationKey>,
    owes_report: bool,
    is_reporting: bool,
}

struct Runner<S, D, C> {
    context: Arc<Context<S, D, C>>,
    schedule: Schedule,
    concurrency: Concurrency,
    flights: HashMap<QueueId, Flight>,
    deliveries: u64,
    /// Which scan of the store is the current one; an older one's end means nothing.
    scan: u64,
    scanner: Option<JoinHandle<()>>,
    is_complete: bool,
    commands: mpsc::UnboundedSender<Command>,
}

/// Starts delivering what is in the store and what is reported by [`Handle::accepted`].
pub fn start<S, D, C>(store: Arc<S>, deliver: Arc<D>, config: Config, clock: C) -> Handle<D>
where
    S: QueueStore,
    D: Deliver,
    C: Clock + Clone,
{
    let (commands, receiver) = mpsc::unbounded_channel();
    let (news, news_receiver) = mpsc::unbounded_channel();
    let mut runner = Runner {
        schedule: Schedule::new(config.retry, config.concurrency),
        concurrency: config.concurrency,
        context: Arc::new(Context {
            store,
            deliver: Arc::clone(&deliver),
            clock,
            policy: config.retry,
            reporter: Reporter {
                hostname: config.hostname,
                postmaster: config.postmaster,
            },
            news,
        }),
        flights: HashMap::new(),
        deliveries: 0,
        scan: 0,
        scanner: None,
        is_complete: false,
        commands: commands.clone(),
    };
    runner.start_scan();
    tokio::spawn(runner.run(receiver, news_receiver));
    Handle { commands, deliver }
}

impl<S, D, C> Runner<S, D, C>
where
    S: QueueStore,
    D: Deliver,
    C: Clock + Clone,
{
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut news: mpsc::UnboundedReceiver<News>,
    ) {
        let (mut some_commands, mut some_news) = (Vec::new(), Vec::new());
        loop {
            self.start_due();
            let pause = self.pause();
            tokio::select! {
                biased;
                _ = news.recv_many(&mut some_news, TURN) => {}
                _ = commands.recv_many(&mut some_commands, TURN) => {}
                () = sleep(pause) => {}
            }
            for item in some_news.drain(..) {
                self.handle_news(item);
            }
            for command in some_commands.drain(..) {
                if let Command::Shutdown(bound, answer) = command {
                    self.drain(bound, &mut news).await;
                    let _ = answer.send(());
                    return;
                }
                self.handle_command(command);
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Accepted(jobs, id) => {
                for (destination, due) in jobs {
                    self.schedule.insert(id, &destination, due);
                }
            }
            Command::Scanned(messages) => {
                for message in &messages {
                    self.take_in(message);
                }
            }
            Command::ScanEnded(scan) => self.is_complete |= scan == self.scan,
            Command::Reconfigure(config) => self.reconfigure(*config),
            Command::RetryNow(destination, answer) => {
                let woken = self.schedule.retry_now(destination.as_ref(), self.now());
                let _ = answer.send(woken);
            }
            Command::Status(answer) => drop(answer.send(self.status())),
            Command::Shutdown(..) => {}
        }
    }

    fn handle_news(&mut self, news: News) {
        match news {
            News::Finished(destination, feedback) => {
                let now = self.now();
                self.schedule.finished(&destination, feedback, now);
                events::status(self.schedule.in_flight(), self.concurrency.overall);
            }
            News::Settled {
                id,
                destination,
                due,
                owes_report,
            } => {
                self.schedule.settled(id, &destination, due);
                if let Some(flight) = self.flights.get_mut(&id) {
                    flight.owes_report |= owes_report;
                    if let Some(at) = flight.jobs.iter().position(|key| *key == destination) {
                        flight.jobs.swap_remove(at);
                    }
                }
                // More recipients of the same message may be due this very moment: what fails
                // together is reported together.
                if due.is_some() {
                    self.start_due();
                }
                self.conclude(id);
            }
            News::Reported(id) => {
                if let Some(flight) = self.flights.get_mut(&id) {
                    flight.owes_report = false;
                    flight.is_reporting = false;
                }
                self.conclude(id);
            }
            News::Entered(id) => self.take_in_from_store(id),
        }
    }

    /// When no work on a message is left: report what failed, or let go of it.
    fn conclude(&mut self, id: QueueId) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        if !flight.jobs.is_empty() || flight.is_reporting {
            return;
        }
        if flight.owes_report {
            flight.is_reporting = true;
            let (context, claim) = (Arc::clone(&self.context), Arc::clone(&flight.claim));
            tokio::spawn(context.report(id, claim));
        } else if let Some(flight) = self.flights.remove(&id)
            && let Some(Some(claim)) = flight.claim.get()
        {
            self.context.store.release(*claim);
        }
    }

    fn start_due(&mut self) {
        let now = self.now();
        while let Some(job) = self.schedule.poll(now) {
            self.deliveries += 1;
            let flight = self.flights.entry(job.id).or_default();
            flight.jobs.push(job.destination.clone());
            let (context, claim) = (Arc::clone(&self.context), Arc::clone(&flight.claim));
            let work = context.work(job.id, job.destination, job.task, self.deliveries, claim);
            tokio::spawn(work);
        }
    }

    /// A record of the store: its jobs, and a report that a crash has kept from being made.
    fn take_in(&mut self, message: &Message) {
        if message.held {
            return;
        }
        let deliver = &self.context.deliver;
        let destination =
            |r: &relay_queue::Recipient| deliver.destination(&message.sender, &r.address);
        for (destination, due) in jobs(message, destination) {
            self.schedule.insert(message.id, &destination, due);
        }
        if owes_report(message) && !self.flights.contains_key(&message.id) {
            let flight = Flight {
                claim: Arc::new(OnceCell::new()),
                owes_report: true,
                ..Flight::default()
            };
            self.flights.insert(message.id, flight);
            self.conclude(message.id);
        }
    }

    /// A bounce has just been committed; it is read back, as anything else from the store.
    fn take_in_from_store(&self, id: QueueId) {
        let (context, commands) = (Arc::clone(&self.context), self.commands.clone());
        tokio::spawn(async move {
            loop {
                match context.store.get(id).await {
                    Ok(found) => {
                        let _ = commands.send(Command::Scanned(found.into_iter().collect()));
                        return;
                    }
                    Err(e) => events::store_error("reading", id, &e),
                }
                tokio::time::sleep(SCAN_PAUSE).await;
            }
        });
    }

    fn start_scan(&mut self) {
        if let Some(scanner) = self.scanner.take() {
            scanner.abort();
        }
        self.scan += 1;
        self.is_complete = false;
        let (context, commands, scan) =
            (Arc::clone(&self.context), self.commands.clone(), self.scan);
        self.scanner = Some(tokio::spawn(async move {
            let mut after = None;
            loop {
                match context.store.scan(after, PAGE).await {
                    Ok(page) => {
                        let is_last = page.len() < PAGE;
                        after = page.last().map(|message| message.id).or(after);
                        let _ = commands.send(Command::Scanned(page));
                        if is_last {
                            let _ = commands.send(Command::ScanEnded(scan));
                            return;
                        }
                    }
                    Err(e) => {
                        events::scan_error(&e);
                        tokio::time::sleep(SCAN_PAUSE).await;
                    }
                }
            }
        }));
    }

    fn reconfigure(&mut self, config: Config) {
        self.concurrency = config.concurrency;
        self.schedule.configure(config.retry, config.concurrency);
        self.context = Arc::new(Context {
            store: Arc::clone(&self.context.store),
            deliver: Arc::clone(&self.context.deliver),
            clock: self.context.clock.clone(),
            policy: config.retry,
            reporter: Reporter {
                hostname: config.hostname,
                postmaster: config.postmaster,
            },
            news: self.context.news.clone(),
        });
        self.schedule.forget_waiting();
        self.start_scan();
    }

    fn status(&self) -> Status {
        let of = |(id, flight): (&QueueId, &Flight)| {
            flight
                .jobs
                .iter()
                .map(|key| (*id, key.clone()))
                .collect::<Vec<_>>()
        };
        Status {
            in_flight: self.schedule.in_flight(),
            waiting: self.schedule.waiting(),
            is_complete: self.is_complete,
            destinations: self.schedule.status(),
            deliveries: self.flights.iter().flat_map(of).collect(),
        }
    }

    /// Waits for what is under way, within the bound.
    async fn drain(&mut self, bound: Duration, news: &mut mpsc::UnboundedReceiver<News>) {
        if let Some(scanner) = self.scanner.take() {
            scanner.abort();
        }
        let deadline = tokio::time::sleep(bound);
        tokio::pin!(deadline);
        while !self.flights.is_empty() {
            tokio::select! {
                Some(item) = news.recv() => self.handle_last_news(item),
                () = &mut deadline => return,
            }
        }
    }

    /// As [`Self::handle_news`], but nothing new begins.
    fn handle_last_news(&mut self, news: News) {
        match news {
            News::Settled {
                id, destination, ..
            } => {
                if let Some(flight) = self.flights.get_mut(&id) {
                    flight.jobs.retain(|key| *key != destination);
                    if flight.jobs.is_empty() && !flight.is_reporting {
                        self.flights.remove(&id);
                    }
                }
            }
            News::Reported(id) => drop(self.flights.remove(&id)),
            News::Finished(..) | News::Entered(_) => {}
        }
    }

    /// How long until the schedule has something to do by itself.
    fn pause(&self) -> Option<Duration> {
        let deadline = self.schedule.next_deadline()?;
        Some(deadline.duration_since(self.now()).unwrap_or_default())
    }

    fn now(&self) -> SystemTime {
        self.context.clock.now()
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        // A clock that is set forward is noticed within the minute.
        Some(pause) => tokio::time::sleep(pause.min(Duration::from_mins(1))).await,
        None => std::future::pending().await,
    }
}
