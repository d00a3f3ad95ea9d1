//! A message's way from the session into the queue.

use std::mem;
use std::time::SystemTime;

use bytes::Bytes;
use relay_message::{Envelope, Message, QueueId, QueueStore, Spool, StoreError};
use relay_smtp::Reply;
use relay_smtp::server::Transaction;

use crate::external::{Checking, External};
use crate::rewrite::TooLong;
use crate::signing_pool::SigningError;
use crate::submission::{Additions, Prepared, Submission};

/// Octets of memory that an open message keeps for what comes next.
const KEPT: usize = 64 * 1024;

/// The message that comes in, if one does: gathered until its header section is complete, then
/// passed on to the spool in bounded memory.
pub(crate) struct Intake<S: QueueStore> {
    spool: Option<S::Spool>,
    gathered: Vec<u8>,
    stage: Stage,
}

/// How far a message has come.
#[derive(Debug)]
enum Stage {
    /// Nothing is done with it: it goes on as it comes.
    Passing,
    /// Its header section is still gathered.
    Header(Box<Processing>),
    /// Its header section is known, and it is from one of our own clients.
    Prepared(Box<Prepared>),
    /// The same of a source.
    Checking(Checking),
}

/// What is to be done with a message, by whose it is.
#[derive(Debug)]
pub(crate) enum Processing {
    Submission(Submission),
    External(External),
}

/// Why a message was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    /// The queue has not taken it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is to be signed and could not be.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// It is not to be believed.
    #[error("{0}")]
    Refused(Box<Reply>),
    /// Its header section would be longer than it may be.
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

    /// A message will come, and this is to be done with it, if anything.
    pub(crate) fn begin(&mut self, spool: S::Spool, processing: Option<Processing>) {
        self.stage = match processing {
            Some(processing) => Stage::Header(Box::new(processing)),
            None => Stage::Passing,
        };
        self.spool = Some(spool);
    }

    /// Where the session puts what it decodes.
    pub(crate) fn gathered(&mut self) -> &mut Vec<u8> {
        &mut self.gathered
    }

    /// The id of the message that comes in.
    pub(crate) fn id(&self) -> Option<QueueId> {
        self.spool.as_ref().map(Spool::id)
    }

    /// Passes on what has been gathered.
    pub(crate) async fn pass_on(&mut self) -> Result<(), IntakeError> {
        self.serve()?;
        if let Some(spool) = &mut self.spool {
            spool.write(&self.gathered).await?;
        }
        self.gathered.clear();
        self.gathered.shrink_to(KEPT);
        Ok(())
    }

    /// Looks at what has been gathered: the first time it has the header section whole.
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

    /// Drops the message; nothing of it stays.
    pub(crate) fn abandon(&mut self) {
        self.spool = None;
        self.gathered = Vec::new();
        self.stage = Stage::Passing;
    }

    /// Hands the message over to the queue; when this returns `Ok`, it would survive power loss.
    /// `head` makes what stands before it, from its id and from what is added to it.
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
