//! A message's way from the session into the queue.

use std::mem;
use std::time::SystemTime;

use bytes::Bytes;
use relay_queue::{Envelope, Message, QueueId, QueueStore, RcptTo, Spool, StoreError};
use relay_smtp::server::Transaction;

use crate::submitted::Missing;

/// Octets of memory that an open message keeps for what comes next.
const KEPT: usize = 64 * 1024;

/// The message that comes in, if one does: gathered until its header section is complete, then
/// passed on to the spool in bounded memory.
pub(crate) struct Intake<S: QueueStore> {
    spool: Option<S::Spool>,
    gathered: Vec<u8>,
    header: Header,
}

/// What is to be known of the header section.
#[derive(Debug, Clone, Copy)]
enum Header {
    /// Nothing: the message is on its way already.
    Passed,
    /// What a submitted message lacks; it is still gathered.
    Awaited,
    /// What it lacks.
    Seen(Missing),
}

impl<S: QueueStore> Intake<S> {
    pub(crate) fn new() -> Self {
        Self {
            spool: None,
            gathered: Vec::new(),
            header: Header::Passed,
        }
    }

    /// A message will come; `is_submitted` says that it begins its way here.
    pub(crate) fn begin(&mut self, store: &S, is_submitted: bool) -> Result<(), StoreError> {
        self.spool = Some(store.begin()?);
        self.header = if is_submitted {
            Header::Awaited
        } else {
            Header::Passed
        };
        Ok(())
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
    pub(crate) async fn pass_on(&mut self) -> Result<(), StoreError> {
        self.look();
        if let Some(spool) = &mut self.spool {
            spool.write(&self.gathered).await?;
        }
        self.gathered.clear();
        self.gathered.shrink_to(KEPT);
        Ok(())
    }

    /// The header section is gathered whole before any of it is passed on.
    fn look(&mut self) {
        if let Header::Awaited = self.header {
            self.header = Header::Seen(Missing::in_header(&self.gathered));
        }
    }

    /// Drops the message; nothing of it stays.
    pub(crate) fn abandon(&mut self) {
        self.spool = None;
        self.gathered = Vec::new();
    }

    /// Hands the message over to the queue; when this returns `Ok`, it would survive power loss.
    /// `head` makes what stands before it, from its id and from what it lacks.
    pub(crate) async fn commit(
        &mut self,
        store: &S,
        transaction: Transaction,
        arrived: SystemTime,
        head: impl FnOnce(QueueId, Option<Missing>) -> Bytes,
    ) -> Result<Message, StoreError> {
        self.look();
        let gathered = mem::take(&mut self.gathered);
        let mut spool = match self.spool.take() {
            Some(spool) => spool,
            None => store.begin()?,
        };
        let missing = match self.header {
            Header::Seen(missing) => Some(missing),
            Header::Passed | Header::Awaited => None,
        };
        let head = head(spool.id(), missing);
        spool.write(&gathered).await?;
        drop(gathered);
        let envelope = Envelope {
            sender: transaction.sender,
            recipients: transaction
                .recipients
                .into_iter()
                .map(|recipient| RcptTo {
                    address: recipient.path,
                    notify: recipient.notify,
                    orcpt: recipient.orcpt,
                })
                .collect(),
            eight_bit: transaction.eight_bit,
            utf8: transaction.utf8,
            dsn: transaction.dsn,
        };
        store.commit(spool, envelope, arrived, head).await
    }
}
