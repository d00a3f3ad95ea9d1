//! The committer: the one thread that writes to the database.
//!
//! It drains what waits, applies it as one atomic batch, makes that durable, then answers: *group
//! commit*. With one writer there is no delay; with many, they share the two syncs.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info};

use crate::claims::Claims;
use crate::error::StoreError;
use crate::id::QueueId;
use crate::message::{Message, RecipientChange};
use crate::record::Record;
use crate::spool::{BodyFile, Prepared, io_error};
use crate::store::Claim;

/// How long what nobody hurries for waits to ride along with a commit.
const LINGER: Duration = Duration::from_millis(10);
/// Operations of one round; bounds the batch, and with it how long the first one waits.
const ROUND: usize = 512;
/// How long to wait before a database that failed is opened anew.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Something to be made durable.
#[derive(Debug)]
pub(crate) enum Operation {
    /// A message enters.
    Commit(Box<Message>, Prepared, Answer<Message>),
    /// An attempt has ended, and perhaps made a bounce.
    Settle(
        Claim,
        Vec<RecipientChange>,
        Vec<(Message, Prepared)>,
        Answer<bool>,
    ),
    /// A damaged message has been copied to `corrupt/` and leaves.
    SetAside(QueueId, Answer<()>),
    /// No more operations.
    Close(Answer<()>),
}

impl Operation {
    /// Whether somebody outside waits for it: a client for its `250`.
    fn is_urgent(&self) -> bool {
        match self {
            Self::Commit(..) | Self::Close(_) => true,
            Self::Settle(..) | Self::SetAside(..) => false,
        }
    }
}

/// What the committer and the readers of the store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state_dir: PathBuf,
    pub(crate) claims: Claims,
    /// `None` while the database is closed after an error.
    tree: RwLock<Option<sled::Tree>>,
    pub(crate) count: AtomicU64,
    pub(crate) fresh: AtomicU64,
    pub(crate) damaged: AtomicU64,
}

impl Shared {
    pub(crate) fn new(state_dir: PathBuf) -> Self {
        Self {
            state_dir,
            claims: Claims::default(),
            tree: RwLock::new(None),
            count: AtomicU64::new(0),
            fresh: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        }
    }

    pub(crate) fn tree(&self) -> Result<sled::Tree, StoreError> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        tree.clone().ok_or_else(|| StoreError::Closed {
            reason: "an error closed it; it is opened again as soon as it can be".into(),
        })
    }

    fn set_tree(&self, tree: Option<sled::Tree>) {
        *self.tree.write().unwrap_or_else(PoisonError::into_inner) = tree;
    }

    pub(crate) fn mess(&self) -> PathBuf {
        self.state_dir.join("mess")
    }

    pub(crate) fn corrupt(&self) -> PathBuf {
        self.state_dir.join("corrupt")
    }
}

/// The key of a message's record.
pub(crate) fn record_key(id: QueueId) -> [u8; 9] {
    key(b'm', id)
}

/// The key of a message's content.
pub(crate) fn content_key(id: QueueId) -> [u8; 9] {
    key(b'c', id)
}

fn key(kind: u8, id: QueueId) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&id.to_bits().to_be_bytes());
    key
}

/// The id in a record key.
pub(crate) fn id_of(key: &[u8]) -> Option<QueueId> {
    let (_, bits) = key.split_first()?;
    Some(QueueId::from_bits(u64::from_be_bytes(
        bits.try_into().ok()?,
    )))
}

/// The open database with our own handle of its file, whose `fdatasync` is the commit.
#[derive(Debug)]
pub(crate) struct Database {
    db: sled::Db,
    file: File,
    mess: File,
}

impl Database {
    /// Opens or makes it, with the directories that name it made durable.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let dir = state_dir.join("queue");
        let open_error = |e: &sled::Error| database_error("opening", &dir, e);
        let config = sled::Config::new()
            .path(&dir)
            .flush_every_ms(None)
            .cache_capacity(16 * 1024 * 1024);
        let db = config.open().map_err(|e| open_error(&e))?;
        db.flush().map_err(|e| open_error(&e))?;
        let file = open_for_sync(&dir.join("db"))?;
        sync_data(&file, &dir.join("db"))?;
        for path in [dir.as_path(), state_dir] {
            let handle = open_for_sync(path)?;
            sync_data(&handle, path)?;
        }
        let mess = open_for_sync(&state_dir.join("mess"))?;
        Ok(Self { db, file, mess })
    }

    pub(crate) fn tree(&self) -> &sled::Tree {
        &self.db
    }

    /// Applies the batch and returns once it would survive power loss.
    fn commit(&self, batch: sled::Batch, has_new_files: bool) -> Result<(), StoreError> {
        let queue = Path::new("the queue");
        if has_new_files {
            sync_data(&self.mess, Path::new("mess"))?;
        }
        self.db
            .apply_batch(batch)
            .map_err(|e| database_error("writing to", queue, &e))?;
        self.db
            .flush()
            .map_err(|e| database_error("flushing", queue, &e))?;
        sync_data(&self.file, queue)
    }
}

fn open_for_sync(path: &Path) -> Result<File, StoreError> {
    File::open(path).map_err(|source| io_error("opening", path, source))
}

fn sync_data(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_data()
        .map_err(|source| io_error("syncing", path, source))
}

pub(crate) fn database_error(doing: &str, path: &Path, error: &sled::Error) -> StoreError {
    StoreError::Database {
        doing: format!("{doing} {}", path.display()),
        reason: error.to_string(),
    }
}

/// Starts the thread; the sender is its only handle, and dropping all of them ends it.
pub(crate) fn start(
    shared: Arc<Shared>,
    database: Database,
) -> Result<Sender<Operation>, StoreError> {
    let (sender, receiver) = channel();
    shared.set_tree(Some(database.tree().clone()));
    let committer = Committer {
        database: Some(database),
        doubtful: Vec::new(),
        failed_at: None,
        shared,
    };
    thread::Builder::new()
        .name("committer".into())
        .spawn(move || committer.run(&receiver))
        .map_err(|source| io_error("starting", Path::new("the committer's thread"), source))?;
    Ok(sender)
}

struct Committer {
    shared: Arc<Shared>,
    database: Option<Database>,
    /// Messages whose commit was answered with an error, yet may have reached the disk.
    doubtful: Vec<QueueId>,
    failed_at: Option<Instant>,
}

impl Committer {
    fn run(mut self, operations: &Receiver<Operation>) {
        while let Some(round) = gather(operations) {
            let mut closing = None;
            let mut work = Vec::with_capacity(round.len());
            for operation in round {
                match operation {
                    Operation::Close(answer) => closing = Some(answer),
                    other => work.push(other),
                }
            }
            self.handle_round(work);
            if let Some(answer) = closing {
                self.shared.set_tree(None);
                self.database = None;
                let _ = answer.send(Ok(()));
                return;
            }
        }
    }

    fn handle_round(&mut self, work: Vec<Operation>) {
        if work.is_empty() {
            return;
        }
        if let Err(reason) = self.ensure_open() {
            let round = Round::default();
            round.fail(work, &reason);
            return;
        }
        let Some(database) = &self.database else {
            return;
        };
        let mut round = Round::default();
        let mut left = work.into_iter();
        let applied = left.try_for_each(|op| round.apply(op, database.tree(), &self.shared));
        let has_new_files = round.files.iter().any(Option::is_some);
        let committed = applied.and_then(|()| {
            let batch = round.batch();
            database.commit(batch, has_new_files)
        });
        match committed {
            Ok(()) => round.succeed(&self.shared),
            Err(e) => {
                error!(target: "relayd", event = "queue error", error = %e,
                    "queue error: {e}; clients are told 451 until the queue is open again");
                let reason = e.to_string();
                self.doubtful.extend(round.entered());
                round.fail(left.collect(), &reason);
                self.shared.set_tree(None);
                self.database = None;
                self.failed_at = Some(now());
            }
        }
    }

    /// Opens the database again after an error, at most once a second.
    fn ensure_open(&mut self) -> Result<(), String> {
        if self.database.is_some() {
            return Ok(());
        }
        if self.failed_at.is_some_and(|at| now() - at < REOPEN_AFTER) {
            return Err("an error closed it a moment ago".into());
        }
        let reopened = Database::open(&self.shared.state_dir).and_then(|database| {
            self.forget_doubtful(&database)?;
            Ok(database)
        });
        match reopened {
            Ok(database) => {
                info!(target: "relayd", event = "queue open", "the queue is open again");
                self.doubtful.clear();
                self.shared.set_tree(Some(database.tree().clone()));
                self.database = Some(database);
                self.failed_at = None;
                Ok(())
            }
            Err(e) => {
                self.failed_at = Some(now());
                Err(e.to_string())
            }
        }
    }

    /// Removes messages whose clients were told that they were not accepted.
    fn forget_doubtful(&self, database: &Database) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for &id in &self.doubtful {
            batch.remove(&record_key(id));
            batch.remove(&content_key(id));
        }
        database.commit(batch, false)?;
        for id in &self.doubtful {
            let _ = fs::remove_file(self.shared.mess().join(id.to_string()));
        }
        Ok(())
    }
}

/// The clock of the committer's own pauses; no decision about a message hangs on it.
#[expect(
    clippy::disallowed_methods,
    reason = "paces the committer's own thread only"
)]
fn now() -> Instant {
    Instant::now()
}

/// Waits for work; what nobody hurries for waits a little for more. `None` at the end.
fn gather(operations: &Receiver<Operation>) -> Option<Vec<Operation>> {
    let first = operations.recv().ok()?;
    let mut is_urgent = first.is_urgent();
    let mut round = vec![first];
    let until = now() + LINGER;
    while round.len() < ROUND {
        if is_urgent {
            match operations.try_recv() {
                Ok(operation) => round.push(operation),
                Err(_) => break,
            }
        } else {
            match operations.recv_timeout(until.saturating_duration_since(now())) {
                Ok(operation) => {
                    is_urgent |= operation.is_urgent();
                    round.push(operation);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }
    Some(round)
}

/// One round's changes: what is to be written, and who is to be told.
#[derive(Default)]
struct Round {
    /// The records as they will be; `None` for one that leaves.
    records: HashMap<QueueId, Option<Record>>,
    /// Contents that enter.
    contents: Vec<(QueueId, Vec<u8>)>,
    files: Vec<Option<BodyFile>>,
    answers: Vec<Reaction>,
    /// Files that have no record any more once the round is durable.
    unlink: Vec<QueueId>,
    count: Change,
    fresh: Change,
}

/// Who waits for the round, and for what.
enum Reaction {
    Commit(Box<Message>, Answer<Message>),
    Settle(QueueId, bool, Answer<bool>),
    SetAside(QueueId, Answer<()>),
}

/// How a counter moves when the round is durable.
#[derive(Default)]
struct Change {
    up: u64,
    down: u64,
}

impl Change {
    fn apply(&self, counter: &AtomicU64) {
        counter.fetch_add(self.up, Ordering::Relaxed);
        counter.fetch_sub(self.down, Ordering::Relaxed);
    }
}

impl Round {
    /// Takes one operation in; an error is the database's and ends the round.
    fn apply(
        &mut self,
        operation: Operation,
        tree: &sled::Tree,
        shared: &Shared,
    ) -> Result<(), StoreError> {
        match operation {
            Operation::Commit(message, prepared, answer) => {
                self.enter(message.as_ref().clone(), prepared);
                self.answers.push(Reaction::Commit(message, answer));
                Ok(())
            }
            Operation::Settle(claim, changes, bounces, answer) => {
                self.settle(claim, changes, bounces, answer, tree, shared)
            }
            Operation::SetAside(id, answer) => {
                if let Some(record) = self.read(id, tree).unwrap_or_default() {
                    self.leave(id, &record);
                } else {
                    self.records.insert(id, None);
                }
                self.answers.push(Reaction::SetAside(id, answer));
                Ok(())
            }
            Operation::Close(_) => Ok(()),
        }
    }

    fn enter(&mut self, message: Message, prepared: Prepared) {
        let (id, layout) = (message.id, prepared.layout);
        self.records.insert(id, Some(Record { message, layout }));
        if !prepared.content.is_empty() {
            self.contents.push((id, prepared.content));
        }
        self.files.push(prepared.file);
        self.count.up += 1;
        self.fresh.up += 1;
    }

    fn leave(&mut self, id: QueueId, record: &Record) {
        self.records.insert(id, None);
        self.count.down += 1;
        if record.message.is_fresh() {
            self.fresh.down += 1;
        }
        if record.layout.place.has_file() {
            self.unlink.push(id);
        }
    }

    /// The record as this round has it so far.
    fn read(&self, id: QueueId, tree: &sled::Tree) -> Result<Option<Record>, StoreError> {
        if let Some(record) = self.records.get(&id) {
            return Ok(record.clone());
        }
        let bytes = tree
            .get(record_key(id))
            .map_err(|e| database_error("reading", Path::new("the queue"), &e))?;
        // A record that cannot be read is the next scan's to set aside; here it is as good as gone.
        Ok(bytes.and_then(|bytes| Record::decode(id, &bytes).ok()))
    }

    fn settle(
        &mut self,
        claim: Claim,
        changes: Vec<RecipientChange>,
        bounces: Vec<(Message, Prepared)>,
        answer: Answer<bool>,
        tree: &sled::Tree,
        shared: &Shared,
    ) -> Result<(), StoreError> {
        if !shared.claims.is_held(claim) {
            let _ = answer.send(Err(StoreError::ClaimLost(claim.id)));
            return Ok(());
        }
        let Some(record) = self.read(claim.id, tree)? else {
            // Settled already by a round whose answer was lost; its bounces went the same way.
            let _ = answer.send(Ok(true));
            return Ok(());
        };
        let mut after = record.clone();
        after.message.apply(changes);
        let has_left = after.message.is_settled();
        if has_left {
            self.leave(claim.id, &record);
        } else {
            if record.message.is_fresh() && !after.message.is_fresh() {
                self.fresh.down += 1;
            }
            self.records.insert(claim.id, Some(after));
        }
        for (message, prepared) in bounces {
            self.enter(message, prepared);
        }
        self.answers
            .push(Reaction::Settle(claim.id, has_left, answer));
        Ok(())
    }

    fn batch(&mut self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (id, content) in self.contents.drain(..) {
            batch.insert(&content_key(id), content);
        }
        for (&id, record) in &self.records {
            if let Some(record) = record {
                batch.insert(&record_key(id), record.encode());
            } else {
                batch.remove(&record_key(id));
                batch.remove(&content_key(id));
            }
        }
        batch
    }

    /// The messages that this round wanted to bring in.
    fn entered(&self) -> Vec<QueueId> {
        let commit = |reaction: &Reaction| match reaction {
            Reaction::Commit(message, _) => Some(message.id),
            Reaction::Settle(..) | Reaction::SetAside(..) => None,
        };
        self.answers.iter().filter_map(commit).collect()
    }

    /// The round is durable: count, answer, and unlink what has no record any more.
    fn succeed(self, shared: &Shared) {
        self.count.apply(&shared.count);
        self.fresh.apply(&shared.fresh);
        self.files.into_iter().flatten().for_each(BodyFile::keep);
        for reaction in self.answers {
            match reaction {
                Reaction::Commit(message, answer) => {
                    let _ = answer.send(Ok(*message));
                }
                Reaction::Settle(id, has_left, answer) => {
                    if has_left {
                        shared.claims.end(id);
                    }
                    let _ = answer.send(Ok(has_left));
                }
                Reaction::SetAside(id, answer) => {
                    shared.claims.end(id);
                    let _ = answer.send(Ok(()));
                }
            }
        }
        for id in self.unlink {
            let _ = fs::remove_file(shared.mess().join(id.to_string()));
        }
    }

    /// Tells everybody, those whose operation was not looked at included. Body files go with it.
    fn fail(self, not_reached: Vec<Operation>, reason: &str) {
        let closed = || StoreError::Closed {
            reason: reason.to_owned(),
        };
        for reaction in self.answers {
            match reaction {
                Reaction::Commit(_, answer) => drop(answer.send(Err(closed()))),
                Reaction::Settle(_, _, answer) => drop(answer.send(Err(closed()))),
                Reaction::SetAside(_, answer) => drop(answer.send(Err(closed()))),
            }
        }
        for operation in not_reached {
            match operation {
                Operation::Commit(_, _, answer) => drop(answer.send(Err(closed()))),
                Operation::Settle(.., answer) => drop(answer.send(Err(closed()))),
                Operation::SetAside(_, answer) | Operation::Close(answer) => {
                    drop(answer.send(Err(closed())));
                }
            }
        }
    }
}

/// As [`Layout::checksum`] has it: body, then head.
pub(crate) fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(head);
    hasher.finalize()
}
