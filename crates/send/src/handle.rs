//! The way to the running task: what others may ask of it.
//!
//! Commands wait in a channel without a bound. It stays short because the runner never waits for
//! I/O and takes commands in on every turn: what is in it has been accepted during one turn, and
//! accepting a message takes a sync of the disk.

use std::sync::Arc;
use std::time::Duration;

use relay_queue::{Message, QueueId, Recipient};
use relay_smtp::Mailbox;
use tokio::sync::{mpsc, oneshot};

use crate::deliver::{Deliver, DestinationKey};
use crate::recipients::Todo;
use crate::retry::RetryPolicy;
use crate::schedule::{Concurrency, DestinationStatus};

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

pub(crate) enum Command {
    Accepted(Todo),
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
    pub(crate) fn new(commands: mpsc::UnboundedSender<Command>, deliver: Arc<D>) -> Self {
        Self { commands, deliver }
    }

    /// A message has been committed to the queue.
    pub fn accepted(&self, message: &Message) {
        let destination = |r: &Recipient| self.deliver.destination(&message.sender, &r.address);
        self.send(Command::Accepted(Todo::of(message, destination)));
    }

    /// Other numbers, and perhaps other routes: everything that waits is put in its line anew.
    pub fn reconfigure(&self, config: Config) {
        self.send(Command::Reconfigure(Box::new(config)));
    }

    /// Has what waits for a destination, or for any, tried now; how many jobs those are.
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

    /// Starts nothing more, waits for what is under way for at most `bound`, breaks off what has
    /// not ended by then, which is tried again at the next start, and ends.
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
