//! The contract of a queue.
//!
//! Several relays may share one store, so a message is *claimed* before work on it begins. A claim
//! can be lost: another relay takes the message over after the holder died, or the operator deletes
//! the message. The former holder learns this when it settles.

use std::future::Future;
use std::time::SystemTime;

use bytes::Bytes;

use crate::accounting::{Audit, Books};
use crate::content::Content;
use crate::envelope::{Envelope, NewMessage};
use crate::error::StoreError;
use crate::id::QueueId;
use crate::message::{Message, RecipientChange};

/// The right to work on one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The message.
    pub id: QueueId,
    /// Distinguishes this claim from earlier and later ones on the same message.
    pub token: u64,
}

/// The changes that an attempt made, recorded in one atomic batch.
#[derive(Debug, Clone, Default)]
pub struct Settlement {
    /// The new states of recipients.
    pub recipients: Vec<RecipientChange>,
    /// Reports that enter the queue in the same batch.
    pub bounces: Vec<NewMessage>,
    /// Recipients whose delay those reports announce, by their index in [`Message::recipients`].
    pub told_of_delay: Vec<usize>,
}

/// What [`QueueStore::set_held`] did to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldResult {
    /// The record as it is now.
    pub message: Message,
    /// Whether it was different before.
    pub changed: bool,
}

/// An incoming message. Bytes are appended until the message is committed. A spool that is dropped
/// leaves nothing behind.
pub trait Spool: Send + 'static {
    /// The id that the message will have.
    fn id(&self) -> QueueId;

    /// Appends bytes to the body. A small body stays in memory, a larger one goes to a file.
    ///
    /// Fails with [`StoreError::NoRoom`] when the free space of the disk has reached its reserve.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A durable queue. All methods may be called from any task. None of them blocks the caller's
/// thread on the disk for long.
pub trait QueueStore: Send + Sync + 'static {
    /// An incoming message of this store.
    type Spool: Spool;

    /// Returns an id that was never used before.
    fn next_id(&self) -> QueueId;

    /// Checks whether there is room for a message of `size` octets (the client's `SIZE=`, else 0)
    /// beside the reserve. Fails with [`StoreError::NoRoom`] if not. Called at MAIL.
    fn has_room(&self, size: u64) -> Result<(), StoreError>;

    /// Starts to take in a message.
    fn begin(&self) -> Result<Self::Spool, StoreError>;

    /// Makes the message durable under the spool's id: once this returns `Ok`, the message survives
    /// power loss. After an error nothing of it is left.
    fn commit(
        &self,
        spool: Self::Spool,
        envelope: Envelope,
        arrived: SystemTime,
        head: Bytes,
    ) -> impl Future<Output = Result<Message, StoreError>> + Send;

    /// Returns at most `limit` records with ids above `after`, in order. Damaged ones are set aside
    /// and left out. A page is bounded in octets too, so it may be shorter; an empty page means the
    /// end.
    fn scan(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Message>, StoreError>> + Send;

    /// Returns one record, or `None` if there is none.
    fn get(&self, id: QueueId) -> impl Future<Output = Result<Option<Message>, StoreError>> + Send;

    /// Claims the message. Returns `None` if it is gone or another relay holds it. A second claim
    /// ends this relay's first one.
    fn claim(
        &self,
        id: QueueId,
    ) -> impl Future<Output = Result<Option<(Claim, Message)>, StoreError>> + Send;

    /// Returns the bytes of a claimed message. Fails with [`StoreError::Damaged`] if they do not
    /// match the record; the message has been set aside then.
    fn open(&self, claim: Claim) -> impl Future<Output = Result<Content, StoreError>> + Send;

    /// Records the changes that an attempt made, and returns the record that is left. `None` means
    /// that the last recipient is settled and the message has left the queue, in the same batch in
    /// which its reports entered.
    ///
    /// Reports use the reserve of the disk: this never fails with [`StoreError::NoRoom`].
    ///
    /// The changes are durable when this returns. It may wait a few milliseconds to share a sync
    /// with other commits. After [`StoreError::ClaimLost`] nothing was recorded.
    fn settle(
        &self,
        claim: Claim,
        settlement: Settlement,
    ) -> impl Future<Output = Result<Option<Message>, StoreError>> + Send;

    /// Holds the message, or releases it. Returns `None` if it is gone. A released message is marked
    /// in its record, so that no rule holds it again. An attempt under way continues and is recorded.
    fn set_held(
        &self,
        id: QueueId,
        held: bool,
    ) -> impl Future<Output = Result<Option<HoldResult>, StoreError>> + Send;

    /// Removes the message and returns its last record, or `None` if it is gone. Every claim on it
    /// ends: an attempt under way fails with [`StoreError::ClaimLost`] when it settles.
    fn delete(
        &self,
        id: QueueId,
    ) -> impl Future<Output = Result<Option<Message>, StoreError>> + Send;

    /// Gives the claim up. The message stays as it is recorded.
    fn release(&self, claim: Claim);

    /// Returns the number of messages in the queue.
    fn count(&self) -> u64;

    /// Returns the number of messages that no attempt was made for yet.
    fn count_fresh(&self) -> u64;

    /// Returns the number of damaged messages that were set aside.
    fn count_damaged(&self) -> u64;

    /// Returns the books. They agree with the records after any crash.
    fn books(&self) -> Books;

    /// Counts the queue and compares it with the books. Nothing else is recorded meanwhile; a
    /// million messages take a few seconds.
    fn audit(&self) -> impl Future<Output = Result<Audit, StoreError>> + Send;

    /// Makes everything durable and closes the store. Every later call fails with
    /// [`StoreError::Closed`].
    fn close(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
