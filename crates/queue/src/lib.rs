//! The durable message store (qmail-queue).
//!
//! [`relay_message::QueueStore`] is the whole contract. [`relay_message::QueueStore::commit`] returns once the message would
//! survive power loss; nothing outside this crate touches sled or the spool.
//!
//! # The legal states of a message on disk
//!
//! | state | body file | record | meaning | who leaves it |
//! |---|---|---|---|---|
//! | S0 | – | – | no message | [`relay_message::QueueStore::commit`] |
//! | S1 | maybe | – | coming in, or going out | commit; settle; delete; the sweep at the start deletes the file |
//! | S2 | as the record says | yes | **queued** | [`relay_message::QueueStore::settle`], [`relay_message::QueueStore::delete`] |
//! | other | | | damaged | set aside under `corrupt/`, logged, counted; where that cannot be written to, left as it is and logged; never a panic, never in the way of a start |
//!
//! The only instant that matters is the one at which the record becomes durable. Before it, the
//! body file has been written and synced, and so has the directory that names it; behind it comes
//! the client's `250`. Leaving goes the other way: the record's removal becomes durable first, then
//! the body file is unlinked. A crash at any point leaves S0, S1 or S2.
//!
//! A record of a later version is none of these: such a queue is not opened at all, nor repaired.
//!
//! # The layout of `state_dir`
//!
//! | path | what |
//! |---|---|
//! | `lock` | held by the relayd that owns the directory |
//! | `queue/` | sled: per message a *record* (envelope and state of each recipient) and, for a small message, its *content*; beside them the books |
//! | `mess/ID` | the body of a larger message, behind it the head if that is large too |
//! | `corrupt/` | what was damaged, for a person to look at |
//!
//! # The commit
//!
//! One thread, the *committer*, is the only writer of the database. It takes all operations that
//! wait, applies them as one sled batch (which is atomic across a crash), has sled flush, then
//! calls `fdatasync` on a handle of its own of sled's `db` file, and only then answers. sled's flush
//! alone is `sync_file_range` on Linux, which writes no metadata and does not reach through the
//! disk's cache: after a power cut everything flushed that way may be gone.
//!
//! What an error leaves behind is not known: a failed fsync must not be repeated, for the kernel may
//! have dropped the pages. So after an error every waiting operation is answered with it, the
//! database is closed, what the kernel has cached of it is given up, it is opened anew as the disk has
//! it, and messages whose commit was answered with an error are
//! removed if they turn out to have reached the disk.
//!
//! # The books
//!
//! [`relay_message::Books`] count recipients: what came in, and what became of it. They are one value of the
//! database, written in the batch that moves a recipient, so at any instant, whatever crashed
//! before, *accepted + reports = delivered + bounced + discarded + set aside + queued*, where queued
//! are those of all records that something is left to do for. [`relay_message::QueueStore::audit`] compares. How
//! many recipients a record had that nobody can read is known once all others are counted: at a
//! start, as what the books have too many.
//!
//! While they have recipients that no record has, the database may have lost records: then a start
//! sets a body without a record aside, and does not take it for S1.
//!
//! # Which files of sled must be durable, and when
//!
//! | under `queue/` | written | made durable |
//! |---|---|---|
//! | `db` | by every batch; all segments are in it | our `fdatasync`: before a batch what is not synced yet, after it all of it |
//! | `conf` | once, when the database is made | our `fdatasync` at every start, before anything is accepted |
//! | `snap.ID` | at a start, to make the next one fast | sled's `fsync` of the file; its name by our `fsync` of the directory. It only repeats what `db` says |
//! | `blobs/` | never: no value is large enough | its name like `conf` |
//!
//! ## When a place in `db` is written over
//!
//! sled never changes a page where it lies: it writes the page elsewhere, and a segment whose pages
//! have all been written elsewhere is used again. Were it overwritten before the pages' new places
//! are durable, a power cut could take pages with messages that were accepted long ago. It is not:
//!
//! * sled frees a segment once the segment with the last of the new places, and all before it, have
//!   been written, which it notes in its own memory by a task that crossbeam-epoch runs only when no
//!   thread is pinned that was pinned as it was put off. A batch stays pinned from its first change
//!   to its last. So what a batch writes over, however large it is, had its new place before the
//!   batch began, and before it begins all that sled has written is synced.
//! * Between two batches only readers write: sled splits and merges pages on a reader's visit too. A
//!   freed segment is used no sooner than the segment behind the new places is full, that is half a
//!   megabyte later; a scan syncs after half of that.
//! * After a kill the next start syncs `db` before it lets sled open it, for sled then clears what it
//!   takes to be free.

pub mod archive;
mod batch;
mod chunks;
mod claims;
mod committer;
mod content;
mod database;
mod disk_space;
mod flush;
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
