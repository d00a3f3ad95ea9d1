//! The queue on disk: sled for records and small bodies, files for larger ones.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::committer::{
    self, Database, Operation, Shared, content_key, database_error, id_of, record_key,
};
use crate::error::StoreError;
use crate::id::{IdSource, QueueId};
use crate::message::{Body, Content, Envelope, Message, NewMessage, Origin};
use crate::record::{Place, Record};
use crate::room::Room;
use crate::spool::{Prepared, SledSpool, SpoolConfig, io_error, run_blocking};
use crate::store::{Claim, QueueStore, Settlement, Spool};
use crate::sweep;

/// What a store on disk needs to know.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Everything that must not be lost; made, readable by its owner only, if it is not there.
    pub state_dir: PathBuf,
    /// Octets to leave free on its file system.
    pub min_free: u64,
    /// Bodies up to this many octets live in the database, larger ones are files.
    pub inline_body: usize,
}

/// A [`QueueStore`] that survives power loss.
#[derive(Debug)]
pub struct SledStore {
    shared: Arc<Shared>,
    spool: Arc<SpoolConfig>,
    ids: IdSource,
    operations: Sender<Operation>,
    /// Locked for as long as the store is open.
    _lock: File,
}

impl SledStore {
    /// Opens the queue of a state directory, making what is not there, and sweeps it: see the
    /// crate's table of legal states.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let state_dir = &config.state_dir;
        for dir in [
            state_dir.clone(),
            state_dir.join("mess"),
            state_dir.join("corrupt"),
        ] {
            make_dir(&dir)?;
        }
        let lock = take_lock(state_dir)?;
        let database = Database::open(state_dir)?;
        let shared = Arc::new(Shared::new(state_dir.clone()));
        let ids = IdSource::default();
        if let Some(last) = sweep::run(&shared, database.tree())? {
            ids.skip_past(last);
        }
        let operations = committer::start(Arc::clone(&shared), database)?;
        let spool = Arc::new(SpoolConfig {
            mess: shared.mess(),
            room: Room::new(state_dir.clone(), config.min_free),
            inline_body: config.inline_body,
        });
        Ok(Self {
            shared,
            spool,
            ids,
            operations,
            _lock: lock,
        })
    }

    async fn ask<T>(
        &self,
        operation: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Operation,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let closed = || StoreError::Closed {
            reason: "it was shut down".into(),
        };
        self.operations
            .send(operation(answer))
            .map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    fn record(&self, id: QueueId) -> Result<Option<Record>, StoreError> {
        let queue = Path::new("the queue");
        let found = self.shared.tree()?.get(record_key(id));
        let bytes = found.map_err(|e| database_error("reading", queue, &e))?;
        bytes
            .map(|bytes| Record::decode(id, &bytes))
            .transpose()
            .map_err(|e| StoreError::Damaged {
                id,
                reason: e.to_string(),
            })
    }

    /// Copies what there is of a damaged message to `corrupt/`, then takes it out of the queue.
    async fn set_aside(&self, id: QueueId, reason: &str) -> Result<(), StoreError> {
        let (shared, tree) = (Arc::clone(&self.shared), self.shared.tree()?);
        let reason = reason.to_owned();
        run_blocking(move || sweep::copy_aside(&shared, &tree, id, &reason)).await?;
        self.ask(|answer| Operation::SetAside(id, answer)).await
    }

    /// `Damaged` sets the message aside on its way out.
    async fn aside_if_damaged<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Damaged { id, reason }) = &result {
            self.set_aside(*id, reason).await?;
        }
        result
    }

    async fn prepare_bounce(&self, bounce: NewMessage) -> Result<(Message, Prepared), StoreError> {
        let mut spool = SledSpool::new(bounce.id, Arc::clone(&self.spool));
        spool.write(&bounce.body).await?;
        let prepared = spool.prepare(&bounce.head).await?;
        let (id, size) = (bounce.id, prepared.layout.size());
        let message = Message::new(id, bounce.arrived, bounce.origin, bounce.envelope, size);
        Ok((message, prepared))
    }

    fn read_content(&self, record: &Record) -> Result<Content, StoreError> {
        let (id, layout) = (record.message.id, record.layout);
        let found = match layout.place {
            Place::WholeFile => Bytes::new(),
            Place::Database | Place::BodyFile => self.content_value(id)?,
        };
        let damaged = |reason: &str| StoreError::Damaged {
            id,
            reason: reason.to_owned(),
        };
        let head_length =
            usize::try_from(layout.head).map_err(|_| damaged("its head is too long"))?;
        match layout.place {
            Place::Database => {
                if found.len() as u64 != layout.head.saturating_add(layout.body) {
                    return Err(damaged(
                        "its content does not have the length in its record",
                    ));
                }
                let (head, body) = (found.slice(..head_length), found.slice(head_length..));
                if committer::checksum(&head, &body) != layout.checksum {
                    return Err(damaged(
                        "its content does not have the checksum in its record",
                    ));
                }
                Ok(Content {
                    head,
                    body: Body::Inline(body),
                })
            }
            Place::BodyFile => {
                if found.len() != head_length {
                    return Err(damaged("its head does not have the length in its record"));
                }
                let file = self.open_body(id, layout.body)?;
                Ok(Content {
                    head: found,
                    body: Body::File {
                        file,
                        length: layout.body,
                    },
                })
            }
            Place::WholeFile => {
                let file = self.open_body(id, layout.body.saturating_add(layout.head))?;
                let head = sweep::read_head(&file, layout.body, head_length)
                    .map_err(|e| damaged(&format!("its head cannot be read: {e}")))?;
                Ok(Content {
                    head,
                    body: Body::File {
                        file,
                        length: layout.body,
                    },
                })
            }
        }
    }

    fn content_value(&self, id: QueueId) -> Result<Bytes, StoreError> {
        let found = self.shared.tree()?.get(content_key(id));
        let found = found.map_err(|e| database_error("reading", Path::new("the queue"), &e))?;
        // Sharing sled's own buffer spares a copy of the body.
        found
            .map(Bytes::from_owner)
            .ok_or_else(|| StoreError::Damaged {
                id,
                reason: "its content is missing".into(),
            })
    }

    fn open_body(&self, id: QueueId, length: u64) -> Result<File, StoreError> {
        let path = self.shared.mess().join(id.to_string());
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Damaged {
                    id,
                    reason: "its body file is missing".into(),
                });
            }
            opened => opened.map_err(|e| io_error("opening the body file", &path, e))?,
        };
        let found = file
            .metadata()
            .map_err(|e| io_error("asking for the size of", &path, e))?
            .len();
        if found != length {
            return Err(StoreError::Damaged {
                id,
                reason: format!("its body file has {found} octets, not {length}"),
            });
        }
        Ok(file)
    }
}

impl QueueStore for SledStore {
    type Spool = SledSpool;

    #[expect(clippy::disallowed_methods, reason = "an id's time only has to rise")]
    fn next_id(&self) -> QueueId {
        self.ids.next(SystemTime::now())
    }

    fn has_room(&self, size: u64) -> Result<(), StoreError> {
        self.spool.room.check(size)
    }

    fn begin(&self) -> Result<SledSpool, StoreError> {
        self.shared.tree()?;
        Ok(SledSpool::new(self.next_id(), Arc::clone(&self.spool)))
    }

    async fn commit(
        &self,
        spool: SledSpool,
        envelope: Envelope,
        arrived: SystemTime,
        head: Bytes,
    ) -> Result<Message, StoreError> {
        let id = spool.id();
        let prepared = spool.prepare(&head).await?;
        let size = prepared.layout.size();
        let message = Message::new(id, arrived, Origin::Client, envelope, size);
        self.ask(|answer| Operation::Commit(Box::new(message), prepared, answer))
            .await
    }

    async fn scan(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let tree = self.shared.tree()?;
        let (messages, damaged) = run_blocking(move || read_page(&tree, after, limit)).await?;
        for (id, reason) in damaged {
            self.set_aside(id, &reason).await?;
        }
        Ok(messages)
    }

    async fn get(&self, id: QueueId) -> Result<Option<Message>, StoreError> {
        let record = self.aside_if_damaged(self.record(id)).await?;
        Ok(record.map(|record| record.message))
    }

    async fn claim(&self, id: QueueId) -> Result<Option<(Claim, Message)>, StoreError> {
        let message = self.get(id).await?;
        Ok(message.map(|message| (self.shared.claims.take(id), message)))
    }

    async fn open(&self, claim: Claim) -> Result<Content, StoreError> {
        if !self.shared.claims.is_held(claim) {
            return Err(StoreError::ClaimLost(claim.id));
        }
        let record = self
            .record(claim.id)
            .and_then(|r| r.ok_or(StoreError::ClaimLost(claim.id)));
        let content = record.and_then(|record| self.read_content(&record));
        self.aside_if_damaged(content).await
    }

    async fn settle(&self, claim: Claim, settlement: Settlement) -> Result<bool, StoreError> {
        let mut bounces = Vec::with_capacity(settlement.bounces.len());
        for bounce in settlement.bounces {
            bounces.push(self.prepare_bounce(bounce).await?);
        }
        let changes = settlement.recipients;
        self.ask(|answer| Operation::Settle(claim, changes, bounces, answer))
            .await
    }

    fn release(&self, claim: Claim) {
        self.shared.claims.release(claim);
    }

    fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    fn count_fresh(&self) -> u64 {
        self.shared.fresh.load(Ordering::Relaxed)
    }

    fn count_damaged(&self) -> u64 {
        self.shared.damaged.load(Ordering::Relaxed)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.ask(Operation::Close).await
    }
}

/// A page of the queue, and what in it cannot be read.
type Page = (Vec<Message>, Vec<(QueueId, String)>);

fn read_page(tree: &sled::Tree, after: Option<QueueId>, limit: usize) -> Result<Page, StoreError> {
    let from = match after {
        Some(id) => std::ops::Bound::Excluded(record_key(id)),
        None => std::ops::Bound::Included(record_key(QueueId::from_bits(0))),
    };
    let to = std::ops::Bound::Included(record_key(QueueId::from_bits(u64::MAX)));
    let (mut messages, mut damaged) = (Vec::new(), Vec::new());
    for row in tree.range((from, to)) {
        if messages.len() >= limit {
            break;
        }
        let (key, value) =
            row.map_err(|e| database_error("scanning", Path::new("the queue"), &e))?;
        let Some(id) = id_of(&key) else { continue };
        match Record::decode(id, &value) {
            Ok(record) => messages.push(record.message),
            Err(e) => damaged.push((id, e.to_string())),
        }
    }
    Ok((messages, damaged))
}

fn make_dir(dir: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| io_error("making the directory", dir, source))
}

/// One relayd a state directory: the lock goes when the process does, however it ends.
fn take_lock(state_dir: &Path) -> Result<File, StoreError> {
    let path = state_dir.join("lock");
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = opened.map_err(|source| io_error("opening", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            dir: state_dir.display().to_string(),
        }),
        Err(TryLockError::Error(source)) => Err(io_error("locking", &path, source)),
    }
}

/// Whether the directory can be listed at all; used by the sweep.
pub(crate) fn read_dir(dir: &Path) -> Result<fs::ReadDir, StoreError> {
    fs::read_dir(dir).map_err(|source| io_error("reading the directory", dir, source))
}
