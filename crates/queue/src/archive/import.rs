//! Imports a stream into a queue.

use std::collections::HashSet;
use std::io::BufRead;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use relay_message::{QueueId, Spool, StoreError};
use tokio::task::JoinSet;

use super::reader::{Lengths, Reader, StreamLine, Torn};
use crate::record::{Record, RecordError};
use crate::sled_store::SledStore;
use crate::spool::SledSpool;

/// The most messages that are committed at the same time, so that they share syncs.
const TOGETHER: usize = 128;
/// How far an id may be ahead of the clock. Ids rise with time; an id far in the future would leave
/// too few for new messages.
const AHEAD: Duration = Duration::from_hours(24);

/// The result of an import.
#[derive(Debug)]
pub struct Imported {
    /// Messages that are now durable in the queue.
    pub taken: u64,
    /// Messages that were not imported. Each was reported.
    pub refused: u64,
    /// Messages that the exporting side left out because they were damaged.
    pub damaged: u64,
    /// How the import ended.
    pub end: End,
}

/// How an import ended.
#[derive(Debug)]
pub enum End {
    /// The stream was complete.
    Whole,
    /// The stream is damaged or incomplete, for this reason. All messages before this point are
    /// imported. The message at this point is not.
    Torn(String),
    /// The queue failed. The messages counted as imported are durable.
    Failed(StoreError),
}

/// Imports the messages of a stream without changes: with their ids, their times and the state of
/// each recipient. `report` is called with each message that is refused, and the reason. A message
/// whose id is already in the queue is refused, so the same stream can be imported twice.
///
/// Reading the input blocks, so this needs a task of its own. `now` limits the times in the ids.
pub async fn import(
    store: &Arc<SledStore>,
    input: impl BufRead,
    now: SystemTime,
    report: &mut dyn FnMut(QueueId, &str),
) -> Imported {
    let mut import = Import {
        store,
        latest: now + AHEAD,
        report,
        under_way: JoinSet::new(),
        ids: HashSet::new(),
        imported: Imported {
            taken: 0,
            refused: 0,
            damaged: 0,
            end: End::Whole,
        },
    };
    let read = import.read(Reader::new(input)).await;
    let settled = import.settle(0).await;
    store.has_removed().await;
    let mut imported = import.imported;
    imported.end = match (read, settled) {
        (Err(Stop::Failed(reason)), _) | (_, Err(reason)) => End::Failed(reason),
        (Err(Stop::Torn(reason)), Ok(())) => End::Torn(reason.to_string()),
        (Ok(()), Ok(())) => End::Whole,
    };
    imported
}

/// Why the import stops.
enum Stop {
    Torn(Torn),
    Failed(StoreError),
}

impl From<Torn> for Stop {
    fn from(reason: Torn) -> Self {
        Self::Torn(reason)
    }
}

impl From<StoreError> for Stop {
    fn from(reason: StoreError) -> Self {
        Self::Failed(reason)
    }
}

/// Why a message is refused before its content is read.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it is in the queue already")]
    Queued,
    #[error("the time in its id is in the future")]
    Future,
    #[error("it has no recipients left to deliver to")]
    Settled,
    #[error(transparent)]
    Record(RecordError),
}

struct Import<'a> {
    store: &'a Arc<SledStore>,
    latest: SystemTime,
    report: &'a mut dyn FnMut(QueueId, &str),
    under_way: JoinSet<(QueueId, Result<(), StoreError>)>,
    ids: HashSet<QueueId>,
    imported: Imported,
}

impl Import<'_> {
    async fn read<R: BufRead>(&mut self, mut reader: Reader<R>) -> Result<(), Stop> {
        while reader.begins()? {
            let mut count = 0;
            loop {
                match reader.next()? {
                    StreamLine::Message(lengths) => self.message(&mut reader, lengths).await?,
                    StreamLine::End { messages, damaged } if messages == count => {
                        self.imported.damaged += damaged;
                        break;
                    }
                    StreamLine::End { .. } => return Err(Torn::Line.into()),
                }
                count += 1;
            }
        }
        Ok(())
    }

    async fn message<R: BufRead>(
        &mut self,
        reader: &mut Reader<R>,
        lengths: Lengths,
    ) -> Result<(), Stop> {
        let id = lengths.id;
        let record = reader.part(lengths.record)?;
        let head = reader.part(lengths.head)?;
        let record = self.accept(id, &record)?;
        // A refused message is read too, to get to the next one.
        let mut spool = match record {
            Ok(_) => Some(self.store.spool_as(id)?),
            Err(_) => None,
        };
        let mut left = lengths.body;
        while left > 0 {
            let chunk = reader.chunk(left)?;
            left -= chunk.len() as u64;
            if let Some(spool) = &mut spool {
                spool.write(&chunk).await?;
            }
        }
        reader.check(id)?;
        match record {
            Ok(record) => self.commit(record, spool, head.into()).await?,
            Err(reason) => {
                self.imported.refused += 1;
                (self.report)(id, &reason.to_string());
            }
        }
        Ok(())
    }

    /// Returns the record, or why the message is refused.
    fn accept(&self, id: QueueId, record: &[u8]) -> Result<Result<Record, Refusal>, StoreError> {
        if self.ids.contains(&id) || self.store.has(id)? {
            return Ok(Err(Refusal::Queued));
        }
        if id.time() > self.latest {
            return Ok(Err(Refusal::Future));
        }
        Ok(match Record::decode(id, record) {
            Ok(record) if record.message.is_settled() => Err(Refusal::Settled),
            decoded => decoded.map_err(Refusal::Record),
        })
    }

    async fn commit(
        &mut self,
        record: Record,
        spool: Option<SledSpool>,
        head: Bytes,
    ) -> Result<(), StoreError> {
        let Some(spool) = spool else { return Ok(()) };
        let (id, store) = (record.message.id, Arc::clone(self.store));
        self.ids.insert(id);
        self.under_way.spawn(async move {
            let restored = store.restore(spool, record, head).await;
            (id, restored)
        });
        self.settle(TOGETHER).await
    }

    /// Waits until at most `bound` commits are in progress.
    async fn settle(&mut self, bound: usize) -> Result<(), StoreError> {
        let mut failed = Ok(());
        while self.under_way.len() > bound {
            let Some(ended) = self.under_way.join_next().await else {
                break;
            };
            let closed = |reason: tokio::task::JoinError| StoreError::Closed {
                reason: reason.to_string(),
            };
            match ended.map_err(closed) {
                Ok((id, Ok(()))) => {
                    self.ids.remove(&id);
                    self.imported.taken += 1;
                }
                Ok((id, Err(StoreError::Damaged { reason, .. }))) => {
                    self.ids.remove(&id);
                    self.imported.refused += 1;
                    (self.report)(id, &reason);
                }
                Ok((_, Err(reason))) | Err(reason) => failed = Err(reason),
            }
        }
        failed
    }
}
