//! The task that owns the schedule. It takes in new messages, starts the jobs that are due, and
//! keeps track of those under way. It calls the rest of this crate, and nothing calls it.

mod intake;
mod operator;

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relay_message::{Deliver, DestinationKey, QueueId, QueueStore};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::action::Action;
use crate::active_message::{ActiveMessage, Owed};
use crate::bounce::Reporter;
use crate::clock::Clock;
use crate::completion::{Completion, Return, Store};
use crate::config::Config;
use crate::context::{Context, STORE_PAUSE};
use crate::destination::Feedback;
use crate::events;
use crate::handle::{Handle, RunnerCommand};
use crate::hold_rules::HoldRules;
use crate::job::Job;
use crate::recipients::Work;
use crate::scan::Page;
use crate::schedule::Schedule;
use crate::status::{Status, StoreTrouble};

/// Commands and completions handled before the schedule is polled again.
const TURN: usize = 256;
/// How many messages beyond the concurrency may wait for the store to record their results. If it
/// never does, at most this many were delivered without a record.
const RECORDING: usize = 1000;
/// How often the clock is checked for having been set.
const CLOCK_CHECK: Duration = Duration::from_mins(1);

struct Runner<S, D, C> {
    context: Arc<Context<S, D, C>>,
    config: Config,
    schedule: Schedule,
    active_messages: HashMap<QueueId, ActiveMessage>,
    tasks: JoinSet<()>,
    /// Verbs of the operator that are being carried out.
    verbs: JoinSet<()>,
    /// Attempts so far. This is the number of a delivery in the log.
    deliveries: u64,
    /// Messages whose results the store fails to record.
    stuck: HashSet<QueueId>,
    /// When a failing store is tried again, with one job.
    store_again: Option<Instant>,
    /// The last failure of the store.
    trouble: Option<StoreTrouble>,
    pages: Option<mpsc::Receiver<Page>>,
    holds: HoldRules,
    /// The last time read from the clock.
    latest: SystemTime,
    ending: Option<Ending>,
}

/// A shutdown under way.
struct Ending {
    deadline: Instant,
    answers: Vec<oneshot::Sender<()>>,
}

/// Starts delivering the messages in the store and those given to [`Handle::accepted`].
pub fn start<S, D, C>(store: Arc<S>, deliver: Arc<D>, config: Config, clock: C) -> Handle<D>
where
    S: QueueStore,
    D: Deliver,
    C: Clock + Clone,
{
    let (commands, receiver) = mpsc::unbounded_channel();
    let (completions, completion_receiver) = mpsc::unbounded_channel();
    let holds = HoldRules::new(config.standing_rules.hold_incoming.clone());
    let mut schedule = Schedule::new(config.limits());
    for destination in &config.standing_rules.suspended {
        schedule.suspend(destination);
    }
    let runner = Runner {
        schedule,
        latest: clock.now(),
        pages: None,
        holds: holds.clone(),
        context: Arc::new(Context {
            store,
            deliver: Arc::clone(&deliver),
            clock,
            policy: config.retry,
            reporter: Reporter::new(&config),
            reports: config.reports,
            signer: config.signer.clone(),
            quotas: Arc::default(),
            completions,
        }),
        config,
        active_messages: HashMap::new(),
        tasks: JoinSet::new(),
        verbs: JoinSet::new(),
        deliveries: 0,
        stuck: HashSet::new(),
        store_again: None,
        trouble: None,
        ending: None,
    };
    tokio::spawn(runner.run(receiver, completion_receiver));
    Handle::new(commands, deliver, holds)
}

impl<S, D, C> Runner<S, D, C>
where
    S: QueueStore,
    D: Deliver,
    C: Clock + Clone,
{
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<RunnerCommand>,
        mut completions: mpsc::UnboundedReceiver<Completion>,
    ) {
        self.read_queue();
        let (mut some_commands, mut some_completions) = (Vec::new(), Vec::new());
        while !self.has_ended() {
            self.start_due();
            let pause = self.pause();
            let takes_pages = self.ending.is_none() && self.has_room();
            tokio::select! {
                _ = completions.recv_many(&mut some_completions, TURN) => {}
                n = commands.recv_many(&mut some_commands, TURN) => {
                    if n == 0 {
                        // No handle is left that could order a shutdown.
                        break;
                    }
                }
                page = next_page(&mut self.pages), if takes_pages => self.take_in(page),
                Some(_) = self.verbs.join_next() => {}
                () = sleep(pause) => {}
            }
            some_completions
                .drain(..)
                .for_each(|completion| self.handle_completion(completion));
            some_commands
                .drain(..)
                .for_each(|command| self.handle_command(command));
            while self.tasks.try_join_next().is_some() {}
        }
        self.break_off().await;
    }

    fn handle_command(&mut self, command: RunnerCommand) {
        match command {
            RunnerCommand::Accepted(work) => self.enter(work),
            RunnerCommand::Reconfigure(config) => self.reconfigure(*config),
            RunnerCommand::Hold(id) => self.apply_own(Action::HoldNew, vec![id]),
            RunnerCommand::Apply(verb, ids, answer) => self.apply_verb(verb, ids, answer),
            RunnerCommand::Suspend(key, answer) => drop(answer.send(self.schedule.suspend(&key))),
            RunnerCommand::Resume(key, answer) => drop(answer.send(self.schedule.resume(&key))),
            RunnerCommand::Status(answer) => drop(answer.send(self.status())),
            RunnerCommand::Shutdown(bound, answer) => self.end(bound, answer),
        }
    }

    fn end(&mut self, bound: Duration, answer: oneshot::Sender<()>) {
        let deadline = Instant::now() + bound;
        let ending = self.ending.get_or_insert_with(|| Ending {
            deadline,
            answers: Vec::new(),
        });
        ending.deadline = ending.deadline.min(deadline);
        ending.answers.push(answer);
    }

    fn handle_completion(&mut self, completion: Completion) {
        match completion {
            Completion::Finished(destination, feedback) => {
                let now = self.now();
                self.schedule.finished(&destination, feedback, now);
                let overall = self.config.concurrency.overall;
                events::status(self.schedule.in_flight(), overall);
            }
            Completion::Settled(destination, work, store) => {
                self.settled(&destination, work, store);
            }
            Completion::Stuck(id, reason) => {
                self.blame_store(reason.clone());
                self.stuck.insert(id);
                if let Some(active) = self.active_messages.get_mut(&id) {
                    active.notify(Return::Stuck(id, reason));
                }
            }
            Completion::ActionReady(ready) => self.finish_action(ready),
            Completion::Entered(message) => self.take_report(&message),
            Completion::Reported(id, reported) => {
                self.stuck.remove(&id);
                if let Some(active) = self.active_messages.get_mut(&id) {
                    active.reported(reported);
                }
                self.conclude(id);
            }
        }
    }

    fn settled(&mut self, destination: &DestinationKey, work: Work, store: Store) {
        let id = work.id;
        self.stuck.remove(&id);
        match store {
            Store::Works => self.store_again = None,
            Store::Fails(reason) => {
                self.blame_store(reason);
                self.store_again = Some(Instant::now() + STORE_PAUSE);
            }
            Store::Unknown => {}
        }
        self.schedule.settled(id, destination);
        let mut is_returned = false;
        if let Some(active) = self.active_messages.get_mut(&id) {
            active.owed = active.owed.max(Owed::report(work.owes_report));
            active.end_job(destination);
            is_returned = active.is_returned();
            // The queue may have been read during the attempt, with routes that lead elsewhere.
            if work.is_gone {
                for key in mem::take(&mut active.scheduled) {
                    self.schedule.withdraw(id, work.arrived, &key);
                }
            }
        }
        // More recipients of the same message may be due now. Failures at the same time share one
        // report.
        if !is_returned && self.schedule_jobs(work) {
            self.start_due();
        }
        self.conclude(id);
    }

    fn blame_store(&mut self, reason: String) {
        let earlier = self.trouble.take().filter(|_| self.is_store_failing());
        let since = earlier.map_or_else(|| self.now(), |trouble| trouble.since);
        self.trouble = Some(StoreTrouble { since, reason });
    }

    fn is_store_failing(&self) -> bool {
        !self.stuck.is_empty() || self.store_again.is_some()
    }

    /// Reports the failures of a message on which no work is left, or releases it.
    fn conclude(&mut self, id: QueueId) {
        let Some(active) = self
            .active_messages
            .get_mut(&id)
            .filter(|active| active.is_over())
        else {
            return;
        };
        if active.owed > Owed::Nothing && self.ending.is_none() {
            let is_return = active.report();
            let context = Arc::clone(&self.context);
            let message_claim = Arc::clone(&active.message_claim);
            self.tasks
                .spawn(context.report(id, message_claim, is_return));
        } else {
            self.let_go(id);
        }
    }

    fn let_go(&mut self, id: QueueId) {
        let Some(active) = self.active_messages.remove(&id) else {
            return;
        };
        if let Some(claim) = active.message_claim.claim() {
            self.context.store.release(claim);
        }
        if active.was_released && self.ending.is_none() {
            self.apply_own(Action::Reread, vec![id]);
        }
    }

    fn start_due(&mut self) {
        let now = self.now();
        self.notice_clock(now);
        while self.may_start() {
            let Some(job) = self.schedule.poll(now) else {
                break;
            };
            if self.store_again.is_some() {
                self.store_again = Some(Instant::now() + STORE_PAUSE);
            }
            self.start(job);
        }
    }

    fn start(&mut self, job: Job) {
        let active = self.active_messages.get(&job.id);
        if active.is_some_and(ActiveMessage::is_returned) {
            // It was read from the queue again before the operator returned it.
            self.drop_job(&job);
            return;
        }
        self.deliveries += 1;
        let active = self.active_messages.entry(job.id).or_default();
        active.jobs.push(job.destination.clone());
        let context = Arc::clone(&self.context);
        let message_claim = Arc::clone(&active.message_claim);
        self.tasks
            .spawn(context.work(job, self.deliveries, message_claim));
    }

    /// Takes a job that is not to be done out of the schedule again.
    fn drop_job(&mut self, job: &Job) {
        if job.task.takes_slot() {
            let now = self.now();
            self.schedule
                .finished(&job.destination, Feedback::Nothing, now);
        }
        self.schedule.settled(job.id, &job.destination);
    }

    /// Whether an attempt may begin. No attempt begins whose outcome could not be recorded. A failing store
    /// is tried with one job at a time, and with none while earlier outcomes are not recorded.
    fn may_start(&self) -> bool {
        let is_time = self.store_again.is_none_or(|at| at <= Instant::now());
        self.ending.is_none() && self.stuck.is_empty() && is_time && self.has_room()
    }

    fn has_room(&self) -> bool {
        self.active_messages.len() < self.config.concurrency.overall as usize + RECORDING
    }

    fn status(&self) -> Status {
        Status {
            in_flight: self.schedule.in_flight(),
            waiting: self.schedule.waiting(),
            is_complete: self.pages.is_none(),
            store_trouble: self.trouble.clone().filter(|_| self.is_store_failing()),
            destinations: self.schedule.status(self.now()),
            reports_suppressed: self.context.quotas.suppressed(),
            suspended: self.schedule.suspended().cloned().collect(),
            deliveries: self
                .active_messages
                .iter()
                .flat_map(|(id, active)| active.jobs.iter().map(|key| (*id, key.clone())))
                .collect(),
        }
    }

    fn has_ended(&self) -> bool {
        let is_idle = self.active_messages.is_empty() && self.verbs.is_empty();
        self.ending
            .as_ref()
            .is_some_and(|ending| is_idle || ending.deadline <= Instant::now())
    }

    /// Aborts all tasks, then answers the shutdown.
    async fn break_off(mut self) {
        self.verbs.shutdown().await;
        self.tasks.shutdown().await;
        let ids: Vec<QueueId> = self.active_messages.keys().copied().collect();
        for id in ids {
            self.let_go(id);
        }
        for answer in self.ending.into_iter().flat_map(|ending| ending.answers) {
            let _ = answer.send(());
        }
    }

    /// Returns how long to wait if no completion and no command comes.
    fn pause(&self) -> Option<Duration> {
        if let Some(ending) = &self.ending {
            return Some(ending.deadline.saturating_duration_since(Instant::now()));
        }
        if !self.stuck.is_empty() || !self.has_room() {
            return None;
        }
        let deadline = self.schedule.next_deadline()?;
        let pause = deadline.duration_since(self.now()).unwrap_or_default();
        let store = self.store_again.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(Instant::now())
        });
        Some(pause.max(store).min(CLOCK_CHECK))
    }

    fn now(&self) -> SystemTime {
        self.context.clock.now()
    }
}

async fn next_page(pages: &mut Option<mpsc::Receiver<Page>>) -> Page {
    if let Some(pages) = pages
        && let Some(page) = pages.recv().await
    {
        return page;
    }
    // Nothing is being read, or the reader has panicked, which was logged.
    std::future::pending().await
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
