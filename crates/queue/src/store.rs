//! The contract of a queue's store.
//!
//! A store may be shared by several relays, so a message is *claimed* before it is worked on; a
//! claim can be lost (taken over after its holder died, or the message deleted by the operator),
//! and whoever lost it learns so when it settles.

use std::future::Future;
use std::time::SystemTime;

use bytes::Bytes;

use crate::books::{Audit, Books};
use crate::error::StoreError;
use crate::id::QueueId;
use crate::message::{Content, Envelope, Message, NewMessage, RecipientChange};

/// The right to work on one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The message.
    pub id: QueueId,
    /// What tells this claim from an earlier or later one on the same message.
    pub token: u64,
}

/// What an attempt changed, recorded in one atomic batch.
#[derive(Debug, Clone, Default)]
pub struct Settlement {
    /// What became of which recipient.
    pub recipients: Vec<RecipientChange>,
    /// Messages that enter the queue in the same batch: the bounce.
    pub bounces: Vec<NewMessage>,
    /// Recipients of whose delay those messages tell, by their place in [`Message::recipients`].
    pub told_of_delay: Vec<usize>,
}

/// A message coming in: bytes are appended until it is committed; dropped, it leaves nothing behind.
pub trait Spool: Send + 'static {
    /// The id that the message will have.
    fn id(&self) -> QueueId;

    /// Appends bytes of the body. Small bodies stay in memory, larger ones go to a file.
    ///
    /// [`StoreError::NoRoom`] when the disk's reserve is reached.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A durable queue. All methods may be called from any task; none blocks the caller's thread on
/// the disk for long.
pub trait QueueStore: Send + Sync + 'static {
    /// The store's way of taking a message in.
    type Spool: Spool;

    /// An id that was never given out before.
    fn next_id(&self) -> QueueId;

    /// Whether there is room for a message of `size` octets (the client's `SIZE=`, else 0) beside
    /// the reserve; [`StoreError::NoRoom`] if not. Asked at MAIL.
    fn has_room(&self, size: u64) -> Result<(), StoreError>;

    /// Starts taking a message in.
    fn begin(&self) -> Result<Self::Spool, StoreError>;

    /// Makes the message durable under the spool's id: when this returns `Ok`, it would survive
    /// power loss. On an error nothing of it stays.
    fn commit(
        &self,
        spool: Self::Spool,
        envelope: Envelope,
        arrived: SystemTime,
        head: Bytes,
    ) -> impl Future<Output = Result<Message, StoreError>> + Send;

    /// Up to `limit` records with ids above `after`, in order; damaged ones are set aside and left out.
    /// There may be fewer, for a page is bounded in octets too: none at all means the end.
    fn scan(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Message>, StoreError>> + Send;

    /// One record as it stands.
    fn get(&self, id: QueueId) -> impl Future<Output = Result<Option<Message>, StoreError>> + Send;

    /// Takes the message for work; `None` if it is gone or another relay has it. Claiming again
    /// ends this relay's former claim.
    fn claim(
        &self,
        id: QueueId,
    ) -> impl Future<Output = Result<Option<(Claim, Message)>, StoreError>> + Send;

    /// The bytes of a claimed message. [`StoreError::Damaged`] if they are not what the record says:
    /// the message has then been set aside.
    fn open(&self, claim: Claim) -> impl Future<Output = Result<Content, StoreError>> + Send;

    /// Records what an attempt changed. The message leaves the queue when its last recipient is
    /// settled, in the same batch as its bounce enters. Returns whether it has left.
    ///
    /// What enters draws on the disk's reserve: it is never [`StoreError::NoRoom`].
    ///
    /// Durable when it returns; it may wait a little for other commits to ride along with.
    /// [`StoreError::ClaimLost`] if somebody else has the message now: nothing was recorded.
    fn settle(
        &self,
        claim: Claim,
        settlement: Settlement,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Sets the message aside for the operator, or gives it free again, which the record remembers, so
    /// that no standing order sets it aside once more; `None` if it is gone. An
    /// attempt that is under way goes on and is recorded.
    fn set_held(
        &self,
        id: QueueId,
        held: bool,
    ) -> impl Future<Output = Result<Option<Message>, StoreError>> + Send;

    /// Removes the message, which is given back; `None` if it is gone. Every claim on it ends: an
    /// attempt that is under way gets [`StoreError::ClaimLost`] when it settles.
    fn delete(
        &self,
        id: QueueId,
    ) -> impl Future<Output = Result<Option<Message>, StoreError>> + Send;

    /// Gives the claim up; the message stays as it is recorded.
    fn release(&self, claim: Claim);

    /// Messages in the queue.
    fn count(&self) -> u64;

    /// Messages that no attempt has been made for yet.
    fn count_fresh(&self) -> u64;

    /// Damaged messages that have been set aside.
    fn count_damaged(&self) -> u64;

    /// What became of all recipients so far; it agrees with the records after any crash.
    fn books(&self) -> Books;

    /// Counts the queue and compares. Nothing else is recorded meanwhile: for a few seconds, if there
    /// are a million messages.
    fn audit(&self) -> impl Future<Output = Result<Audit, StoreError>> + Send;

    /// Makes everything durable and closes; every later call answers [`StoreError::Closed`].
    fn close(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
