//! The durable message store (qmail-queue).
//!
//! [`relay_message::QueueStore`] is the whole contract. [`relay_message::QueueStore::commit`]
//! returns when the message would survive a power loss. No other crate touches the files of the
//! queue.
//!
//! # The legal states of a message on disk
//!
//! | state | body file | latest frame in the journal | meaning | how it ends |
//! |---|---|---|---|---|
//! | S0 | – | none, or a removal | no message | [`relay_message::QueueStore::commit`] |
//! | S1 | maybe | none, or a removal | entering or leaving | commit; settle; delete; the sweep at the start deletes the file |
//! | S2 | as the record says | a record | **queued** | [`relay_message::QueueStore::settle`], [`relay_message::QueueStore::delete`] |
//! | other | | | damaged | moved to `corrupt/`, logged and counted; if `corrupt/` cannot be written, left in place and logged; it never causes a panic and never prevents a start |
//!
//! A message is queued at the moment the round with its record becomes durable. Before that, the body
//! file and its directory are written and synced. After that, the client gets its `250`. A message
//! leaves in the reverse order: first the removal becomes durable, then the body file is unlinked. A
//! crash at any point leaves S0, S1 or S2.
//!
//! # The states of a segment
//!
//! | state | file under `journal/` | how it ends |
//! |---|---|---|
//! | spare | `spare` | a new header and a first round are written and synced, it is renamed, and the directory is synced; then the round counts |
//! | current | the highest number | it is full, a write failed, or a start; the header of the next one says where its rounds end |
//! | full | a lower number | it is the oldest, no message is in it, and the index on disk is past it |
//! | given up | none | the loss of the name is synced; then the file is the spare, or deleted |
//!
//! # Why no power cut can lose a message
//!
//! * *Within a round*: no answer was given. A round without its end frame, or with a frame that does
//!   not have its checksums, does not count if it is the last one. The next round is written only
//!   after the `fdatasync` of the one before, so only the last one can be incomplete.
//! * *Between rounds*: rounds begin at pages, so no write touches a page with earlier octets.
//! * *At a new segment*: its name appears after its octets are durable, and no answer is given before
//!   the name is. Until then the rounds of the segment before are the last ones.
//! * *While old segments are given up*: the oldest goes first, one at a time, and each loss of a name
//!   is synced before the file is used again. A message in it was appended anew and synced before. So
//!   what is left is always a part of the journal without a gap, and it has the latest frame of each
//!   queued message. A removal that is given up had its message's earlier frames before it.
//! * *During a checkpoint*: sled applies a batch completely or not at all. With the old checkpoint
//!   more of the journal is read, with the new one less. Segments are not given up before the
//!   checkpoint that no longer needs them is durable, or a durable round says that the index on disk
//!   is out of date.
//! * *After an error*: the segment is left. The next header says where the durable rounds end, and
//!   what was in the failed round and must not be lost is in the first rounds of the new segment.
//! * *During a takeover*: see the table in `takeover.rs`.
//!
//! # The layout of `state_dir`
//!
//! | path | what |
//! |---|---|
//! | `lock` | held by the relayd that owns the directory |
//! | `journal/` | the queue |
//! | `mess/ID` | the body of a larger message, followed by the head if that is large too |
//! | `index/` | sled: where each message is; it can be lost |
//! | `corrupt/` | damaged messages, for the operator to inspect |
//!
//! # The books
//!
//! [`relay_message::Books`] count recipients: how many entered, and what happened to them. Each round
//! ends with them. So at any time, also after a crash, *accepted + reports = delivered + bounced +
//! discarded + set aside + queued*, where queued counts the outstanding recipients of all messages.
//! [`relay_message::QueueStore::audit`] compares the two. If the journal has lost messages whose
//! number of recipients is unknown, the books have that number in excess, and a start counts it as
//! set aside. It then also moves a body without a message to `corrupt/`, and does not treat it as S1.

pub mod archive;
mod batch;
mod checkpoint;
mod claims;
mod cleaner;
mod committer;
mod content;
mod disk_space;
mod earlier;
mod fresh_contents;
pub mod fsck;
mod id_source;
mod index;
mod indexer;
mod journal;
pub mod memory;
mod opening;
mod operation;
mod quarantine;
mod record;
mod recovery;
mod remover;
mod round_state;
pub mod sled_store;
mod spool;
mod state_dir;
mod store_state;
mod sweep;
mod takeover;

pub use memory::MemoryStore;
#[doc(hidden)]
pub use record::recode_record;
pub use sled_store::{Note, SledStore, StoreConfig};
