//! Opens a queue: takes the lock, finds out what is there, and sets aside what is damaged.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use relay_message::{QueueId, StoreError};
use tracing::{error, warn};

use crate::checkpoint::DiskIndex;
use crate::committer::{Writer, set_aside};
use crate::indexer::Indexer;
use crate::journal::{self, Journal};
use crate::quarantine;
use crate::recovery::{Recovered, recover};
use crate::remover::Remover;
use crate::spool::io_error;
use crate::state_dir::{make_dir, take_lock};
use crate::store_state::{Checkpoints, StoreState};
use crate::sweep::{self, Unclaimed};
use crate::takeover;

/// A queue that is ready for use.
pub(crate) struct Opened {
    pub(crate) state: Arc<StoreState>,
    pub(crate) writer: Writer,
    pub(crate) indexer: Indexer,
    pub(crate) lock: File,
    /// The highest id that was ever used, as far as is known.
    pub(crate) last_id: Option<QueueId>,
}

pub(crate) fn open(state_dir: &Path) -> Result<Opened, StoreError> {
    for dir in ["mess", "corrupt"] {
        make_dir(&state_dir.join(dir))?;
    }
    let lock = take_lock(state_dir)?;
    takeover::run(state_dir)?;
    let journal_dir = journal::directory(state_dir);
    make_dir(&journal_dir)?;
    let begun = now();
    let (disk, from_disk) = match DiskIndex::open(&state_dir.join("index")) {
        Ok((disk, checkpoint, entries)) => (Some(disk), Ok((checkpoint, entries))),
        Err(reason) => (None, Err(reason)),
    };
    let mut recovered = recover(&journal_dir, from_disk)?;
    let disk = disk.filter(|_| recovered.rebuilt.is_none());
    report(&recovered, begun.elapsed());
    let queue = recovered.queue.unwrap_or_else(|| fastrand::u64(..));
    let index = std::mem::take(&mut recovered.index);
    let remover = Remover::start().map_err(|e| io_error("starting", Path::new("a thread"), e))?;
    let state = Arc::new(StoreState::new(state_dir.to_owned(), remover, index));
    state.update_checkpoints(|known| *known = checkpoints(&recovered));
    let journal = Journal::new(journal_dir.clone(), queue, recovered.last)
        .map_err(|e| io_error("opening", &journal_dir, e))?;
    let mut writer = Writer::new(Arc::clone(&state), journal)?;
    set_damaged_aside(&state, &mut writer, &recovered)?;
    let position = recovered.checkpoint.unwrap_or_default();
    let indexer = Indexer::start(Arc::clone(&state), queue, disk, position)?;
    Ok(Opened {
        state,
        writer,
        indexer,
        lock,
        last_id: recovered.last_id,
    })
}

/// What the first rounds say of the index on disk.
fn checkpoints(recovered: &Recovered) -> Checkpoints {
    let is_usable = recovered.checkpoint.is_some();
    Checkpoints {
        written: recovered.generation,
        required: recovered.generation + u64::from(!is_usable),
        segment: recovered.checkpoint.map(|position| position.segment),
    }
}

fn report(recovered: &Recovered, took: Duration) {
    let (messages, milliseconds) = (recovered.index.len(), took.as_millis());
    match &recovered.rebuilt {
        Some(reason) if recovered.queue.is_some() => {
            warn!(target: "relayd", event = "index", %reason, messages, took_ms = milliseconds,
                "the index of the queue was rebuilt from the journal: {reason}; messages={messages} \
                 took={milliseconds}ms");
        }
        _ => {}
    }
    for missing in &recovered.missing {
        let (first, last) = (missing.start(), missing.end());
        warn!(target: "relayd", event = "corrupt",
            "corrupt: the segments {first:08x} to {last:08x} of the journal are missing or cannot be read");
    }
    if recovered.unaccounted > 0 {
        let recipients = recovered.unaccounted;
        warn!(target: "relayd", event = "corrupt", recipients,
            "corrupt: the books have {recipients} recipients more than the queue; they are counted \
             as set aside; run relayd fsck for details");
    }
}

/// Moves to `corrupt/` what is damaged, and removes body files that nothing needs.
fn set_damaged_aside(
    state: &StoreState,
    writer: &mut Writer,
    recovered: &Recovered,
) -> Result<(), StoreError> {
    for (segment, stretch) in &recovered.stretches {
        if let Err(e) = quarantine::keep_stretch(state, segment, stretch) {
            warn!(target: "relayd", event = "corrupt", error = %e,
                "corrupt: a damaged part of the journal cannot be copied to corrupt/: {e}");
        }
    }
    for &number in &recovered.unreadable {
        let path = journal::path(&journal::directory(&state.state_dir), number);
        if let Err(e) = quarantine::keep_segment(state, &path) {
            warn!(target: "relayd", event = "corrupt", error = %e,
                "corrupt: a damaged segment of the journal cannot be moved to corrupt/: {e}");
        }
    }
    state
        .damaged
        .store(quarantine::count(state)?, Ordering::Relaxed);
    let unclaimed = if recovered.is_complete() {
        Unclaimed::Remove
    } else {
        Unclaimed::Keep
    };
    write_set_aside(state, writer, recovered.damaged.clone());
    // Bodies of damaged messages have been moved.
    let damaged = sweep::run(state, unclaimed)?;
    write_set_aside(state, writer, damaged);
    Ok(())
}

/// On a full disk the messages stay in the queue, so that damage does not prevent a start.
fn write_set_aside(state: &StoreState, writer: &mut Writer, damaged: Vec<(QueueId, String)>) {
    if damaged.is_empty() {
        return;
    }
    let batch = set_aside(damaged, state);
    match writer.write(&batch) {
        Ok(()) => batch.succeed(state),
        Err(e) => error!(target: "relayd", event = "queue error", error = %e,
            "queue error: damaged messages were copied to corrupt/, but they cannot be removed from \
             the queue: {e}"),
    }
}

/// Only for the time that a rebuild took.
#[expect(clippy::disallowed_methods, reason = "measures what the log tells")]
fn now() -> Instant {
    Instant::now()
}
