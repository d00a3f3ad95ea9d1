//! How a message gets from the session into the queue.

use std::mem;
use std::time::SystemTime;

use bytes::Bytes;
use relay_message::{Envelope, Message, QueueId, QueueStore, Spool, StoreError};
use relay_smtp::Reply;
use relay_smtp::server::Transaction;

use crate::external::{Checking, External};
use crate::rewrite::TooLong;
use crate::signing_pool::SigningPoolError;
use crate::submission::{Additions, Prepared, Submission};

/// The octets of memory that an open message keeps for its next input.
const KEPT: usize = 64 * 1024;

/// The message that is coming in, if there is one. It is gathered in memory until its header
/// section is complete; after that it is passed on to the spool in bounded memory.
pub(crate) struct Intake<S: QueueStore> {
    spool: Option<S::Spool>,
    gathered: Vec<u8>,
    stage: Stage,
}

/// The state of a message that is coming in.
#[derive(Debug)]
enum Stage {
    /// The message is passed on unchanged.
    Passing,
    /// The header section is not complete yet.
    Header(Box<Processing>),
    /// The header section of a message from a client that may relay is complete.
    Prepared(Box<Prepared>),
    /// The header section of a message from an external client is complete.
    Checking(Checking),
}

/// How to process a message. This depends on the client.
#[derive(Debug)]
pub(crate) enum Processing {
    Submission(Submission),
    External(External),
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    /// The queue could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It must be signed and could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningPoolError),
    /// The check of an external message refused it.
    #[error("{0}")]
    Refused(Box<Reply>),
    /// Its header section would exceed the limit after rewriting.
    #[error(transparent)]
    Header(#[from] TooLong),
}

impl<S: QueueStore> Intake<S> {
    pub(crate) fn new() -> Self {
        Self {
            spool: None,
            gathered: Vec::new(),
            stage: Stage::Passing,
        }
    }

    /// Begins a message, with the processing that it needs, if any.
    pub(crate) fn begin(&mut self, spool: S::Spool, processing: Option<Processing>) {
        self.stage = match processing {
            Some(processing) => Stage::Header(Box::new(processing)),
            None => Stage::Passing,
        };
        self.spool = Some(spool);
    }

    /// The buffer for the octets that the session decodes.
    pub(crate) fn gathered(&mut self) -> &mut Vec<u8> {
        &mut self.gathered
    }

    /// The id of the message that is coming in.
    pub(crate) fn id(&self) -> Option<QueueId> {
        self.spool.as_ref().map(Spool::id)
    }

    /// Passes the gathered octets on.
    pub(crate) async fn pass_on(&mut self) -> Result<(), IntakeError> {
        self.serve()?;
        if let Some(spool) = &mut self.spool {
            spool.write(&self.gathered).await?;
        }
        self.gathered.clear();
        self.gathered.shrink_to(KEPT);
        Ok(())
    }

    /// Examines the gathered octets when the header section is complete for the first time.
    fn serve(&mut self) -> Result<(), TooLong> {
        self.stage = match mem::replace(&mut self.stage, Stage::Passing) {
            Stage::Passing => Stage::Passing,
            Stage::Header(processing) => match *processing {
                Processing::Submission(submission) => {
                    Stage::Prepared(Box::new(submission.begin(&mut self.gathered)?))
                }
                Processing::External(external) => match external.begin(&mut self.gathered) {
                    Some(checking) => Stage::Checking(checking),
                    None => Stage::Passing,
                },
            },
            Stage::Prepared(mut prepared) => {
                prepared.pass(&self.gathered);
                Stage::Prepared(prepared)
            }
            Stage::Checking(mut checking) => {
                checking.pass(&self.gathered);
                Stage::Checking(checking)
            }
        };
        Ok(())
    }

    /// Drops the message. Nothing of it stays in the queue.
    pub(crate) fn abandon(&mut self) {
        self.spool = None;
        self.gathered = Vec::new();
        self.stage = Stage::Passing;
    }

    /// Commits the message to the queue. If this returns `Ok`, the message survives a power loss.
    /// `head` formats the text in front of the message, from its id and its added fields.
    pub(crate) async fn commit(
        &mut self,
        store: &S,
        transaction: Transaction,
        arrived: SystemTime,
        head: impl FnOnce(QueueId, Additions) -> Bytes,
    ) -> Result<Message, IntakeError> {
        if let Err(reason) = self.serve() {
            self.abandon();
            return Err(reason.into());
        }
        let gathered = mem::take(&mut self.gathered);
        let mut spool = match self.spool.take() {
            Some(spool) => spool,
            None => store.begin()?,
        };
        let additions = match mem::replace(&mut self.stage, Stage::Passing) {
            Stage::Prepared(prepared) => prepared.finish(arrived).await?,
            Stage::Checking(checking) => Additions {
                top: checking
                    .finish()
                    .await
                    .map_err(IntakeError::Refused)?
                    .into(),
                fields: String::new(),
            },
            Stage::Header(_) | Stage::Passing => Additions::default(),
        };
        let head = head(spool.id(), additions);
        spool.write(&gathered).await?;
        drop(gathered);
        let envelope = Envelope {
            sender: transaction.sender,
            recipients: transaction.recipients,
            eight_bit: transaction.eight_bit,
            utf8: transaction.utf8,
            dsn: transaction.dsn,
        };
        Ok(store.commit(spool, envelope, arrived, head).await?)
    }
}
