//! The durable message store (qmail-queue).
//!
//! [`relay_message::QueueStore`] is the whole contract. [`relay_message::QueueStore::commit`]
//! returns when the message would survive a power loss. No other crate touches sled or the spool.
//!
//! # The legal states of a message on disk
//!
//! | state | body file | record | meaning | how it ends |
//! |---|---|---|---|---|
//! | S0 | – | – | no message | [`relay_message::QueueStore::commit`] |
//! | S1 | maybe | – | entering or leaving | commit; settle; delete; the sweep at the start deletes the file |
//! | S2 | as the record says | yes | **queued** | [`relay_message::QueueStore::settle`], [`relay_message::QueueStore::delete`] |
//! | other | | | damaged | moved to `corrupt/`, logged and counted; if `corrupt/` cannot be written, left in place and logged; it never causes a panic and never prevents a start |
//!
//! A message is queued at the moment its record becomes durable. Before that, the body file and its
//! directory are written and synced. After that, the client gets its `250`. A message leaves in the
//! reverse order: first the removal of the record becomes durable, then the body file is unlinked.
//! A crash at any point leaves S0, S1 or S2.
//!
//! A record of a later version is not damaged. A queue that has one is neither opened nor repaired.
//!
//! # The layout of `state_dir`
//!
//! | path | what |
//! |---|---|
//! | `lock` | held by the relayd that owns the directory |
//! | `queue/` | sled: per message a *record* (envelope and state of each recipient) and, for a small message, its *content*; and the books |
//! | `mess/ID` | the body of a larger message, followed by the head if that is large too |
//! | `corrupt/` | damaged messages, for the operator to inspect |
//!
//! # The commit
//!
//! One thread, the *committer*, is the only writer of the database. It takes all waiting
//! operations, applies them as one sled batch (which is atomic across a crash), flushes sled, calls
//! `fdatasync` on its own handle of sled's `db` file, and only then answers. sled's flush alone is
//! `sync_file_range` on Linux, which writes no metadata and does not flush the disk's cache. After
//! a power loss, all data flushed only that way can be missing.
//!
//! After an error the state of the file is unknown. A failed fsync must not be repeated, because
//! the kernel may have dropped the pages. So the committer answers all waiting operations with the
//! error, closes the database, drops the kernel's cache of the file and opens it again from the
//! disk. It then removes messages whose commit was answered with an error, if they did reach the
//! disk.
//!
//! # The books
//!
//! [`relay_message::Books`] count recipients: how many entered, and what happened to them. They are
//! one value of the database, and each batch that changes a recipient also writes them. So at any
//! time, also after a crash, *accepted + reports = delivered + bounced + discarded + set aside +
//! queued*, where queued counts the outstanding recipients of all records.
//! [`relay_message::QueueStore::audit`] compares the two. The number of recipients of an unreadable
//! record is known only when all others are counted: at a start, it is the number that the books
//! have in excess.
//!
//! If the books have recipients that no record has, the database may have lost records. A start
//! then moves a body without a record to `corrupt/`; it does not treat it as S1.
//!
//! # Which files of sled must be durable, and when
//!
//! | under `queue/` | written | made durable |
//! |---|---|---|
//! | `db` | by every batch; all segments are in it | our `fdatasync`: before a batch for what is not synced yet, and after it for the batch |
//! | `conf` | once, when the database is made | our `fdatasync` at every start, before anything is accepted |
//! | `snap.ID` | at a start, to make the next one fast | sled's `fsync` of the file and our `fsync` of the directory. It only repeats what `db` contains |
//! | `blobs/` | never: no value is large enough | its name is synced like `conf` |
//!
//! ## When a segment of `db` is overwritten
//!
//! sled never changes a page in place. It writes the page to another segment, and reuses a segment
//! when all its pages have moved. If a segment were overwritten before the new copies of its pages
//! are durable, a power loss could destroy messages that were accepted long ago. This cannot
//! happen:
//!
//! * sled frees a segment when the segment with the last of the new copies, and all before it, have
//!   been written. A deferred crossbeam-epoch task records this in memory. The task runs only when
//!   no thread is still pinned that was pinned when the task was deferred, and a batch stays pinned
//!   from its first change to its last. So the pages that a batch overwrites, however large it is,
//!   were copied before the batch began; and before a batch begins, all that sled has written is
//!   synced.
//! * Between two batches only readers write: sled also splits and merges pages during a read. sled
//!   reuses a freed segment only when the segment after the new copies is full, that is, half a
//!   megabyte later. A scan syncs after half of that.
//! * After a kill, the next start syncs `db` before sled opens it, because sled then clears the
//!   segments that it considers free.

pub mod archive;
mod batch;
mod chunks;
mod claims;
mod committer;
mod content;
mod database;
mod disk_space;
pub mod fsck;
mod id_source;
pub mod memory;
mod operation;
mod quarantine;
mod record;
mod remover;
pub mod sled_store;
mod spool;
mod store_state;
mod sweep;

pub use memory::MemoryStore;
#[doc(hidden)]
pub use record::recode_record;
pub use sled_store::{SledStore, StoreConfig};
