//! Cleans up the state directory at the start.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::mem;
use std::ops::Bound;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use relay_message::{Books, QueueId, StoreError};
use tracing::{info, warn};

use crate::chunks::{Changes, ValueKind};
use crate::content::Damage;
use crate::database::{Database, Table};
use crate::quarantine::{self, Evidence};
use crate::record::Ledger;
use crate::record::{ContentPlace, Record, refuse_later};
use crate::spool::io_error;
use crate::store_state::StoreState;

/// Records that a thread reads between two checks of how much sled has written.
const LOOK_EVERY: u64 = 512;
/// The number of id ranges into which the records are divided. Each thread takes the next free
/// range, because ids are not distributed evenly.
const RANGES: u64 = 64;

/// The result of reading the records.
#[derive(Default)]
struct Found {
    /// Body files that records refer to.
    files: HashMap<QueueId, Expected>,
    damaged: Vec<Damaged>,
    /// Messages that could not be set aside and stay in place.
    staying: HashSet<QueueId>,
    last: Option<QueueId>,
    count: u64,
    fresh: u64,
    /// The books as they would be if they started with the current queue.
    opening: Books,
}

/// A body file as its record describes it.
struct Expected {
    length: u64,
    is_fresh: bool,
    outstanding: u64,
}

/// A damaged message. It is counted with the others until it is set aside.
struct Damaged {
    id: QueueId,
    reason: String,
    is_fresh: bool,
    /// Outstanding recipients to subtract from the books; 0 for an unreadable record, whose number
    /// the books give.
    outstanding: u64,
}

/// Counts the queue, sets damaged messages aside, deletes files that belong to no message, and
/// returns the highest id. It must run before the queue is used.
pub(crate) fn run(state: &StoreState, database: &Database) -> Result<Option<QueueId>, StoreError> {
    let quarantined = quarantine::count(state)?;
    state.damaged.store(quarantined, Ordering::Relaxed);
    let mut found = read_records(database.table())?;
    let stored = database.table().ledger()?;
    let missing = stored.map_or(0, |l| {
        l.books.queued().saturating_sub(found.opening.queued())
    });
    let mut ledger = open_books(stored, &found, missing);
    // This comes before the sweep of the files: the body of an unreadable record would look unused.
    quarantine_damaged(state, database, &mut found, &mut ledger)?;
    let unclaimed = match missing {
        0 => Unclaimed::Remove,
        _ => Unclaimed::Keep,
    };
    sweep_body_files(state, &mut found, unclaimed)?;
    quarantine_damaged(state, database, &mut found, &mut ledger)?;
    state.set_ledger(ledger);
    state.count.store(found.count, Ordering::Relaxed);
    state.fresh.store(found.fresh, Ordering::Relaxed);
    Ok(found.last)
}

/// What to do with a body that no record refers to.
#[derive(Clone, Copy)]
enum Unclaimed {
    /// Remove it. The books agree with the records, so it was never accepted, or has left.
    Remove,
    /// Keep it. The books have recipients that no record has, and the body may be all that is left
    /// of their message: sled takes a torn entry for the end of a segment and drops the rest
    /// without an error.
    Keep,
}

/// Returns the books, with the recipients of unreadable records counted as set aside. Their number
/// is the excess of the books.
fn open_books(stored: Option<Ledger>, found: &Found, missing: u64) -> Ledger {
    let Some(mut ledger) = stored else {
        return Ledger {
            books: found.opening,
            is_short: false,
        };
    };
    if ledger.is_short || !found.damaged.is_empty() {
        ledger.books.set_aside += missing;
        ledger.is_short = false;
    } else if missing > 0 {
        warn!(target: "relayd", event = "corrupt",
            "corrupt: the books have {missing} recipients more than the queue; bodies without \
             a record are set aside; run relayd fsck for details");
    }
    ledger
}

/// Counts the outstanding recipients of all records.
pub(crate) fn count_outstanding(table: &Table) -> Result<u64, StoreError> {
    let mut outstanding = 0;
    for (row, n) in table.records(None).zip(1u64..) {
        let (id, value) = row?;
        // The recipients of an unreadable record are unknown and are not in the sum.
        outstanding += Record::decode(id, &value).map_or(0, |r| r.message.outstanding());
        if n % LOOK_EVERY == 0 {
            table.sync_if_much_was_written()?;
        }
    }
    Ok(outstanding)
}

/// Reads all records. It uses two threads, because the start of a large queue waits for it.
fn read_records(table: &Table) -> Result<Found, StoreError> {
    let Some(ends) = table.ends()? else {
        return Ok(Found::default());
    };
    let next = AtomicU64::new(0);
    let work = || {
        let mut found = Found::default();
        loop {
            let range = next.fetch_add(1, Ordering::Relaxed);
            if range >= RANGES {
                return Ok(found);
            }
            found.read(table, ids_of(range, ends))?;
        }
    };
    let mut found = thread::scope(|scope| {
        let name = thread::Builder::new().name("sweep".into());
        let other = name.spawn_scoped(scope, work);
        let other = other.map_err(|e| io_error("starting", Path::new("a thread"), e))?;
        let found: Result<Found, StoreError> = work();
        let theirs = other.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok::<_, StoreError>(found?.and(theirs?))
    })?;
    found.last = Some(ends.1);
    Ok(found)
}

/// Returns one of the [`RANGES`] ranges into which the ids between these ends are divided.
fn ids_of(range: u64, (first, last): (QueueId, QueueId)) -> (Bound<QueueId>, Bound<QueueId>) {
    let (first, last) = (first.to_bits(), last.to_bits());
    let from = |range| QueueId::from_bits(first + (last - first) / RANGES * range);
    let to = if range + 1 == RANGES {
        Bound::Included(QueueId::from_bits(last))
    } else {
        Bound::Excluded(from(range + 1))
    };
    (Bound::Included(from(range)), to)
}

impl Found {
    fn read(
        &mut self,
        table: &Table,
        ids: (Bound<QueueId>, Bound<QueueId>),
    ) -> Result<(), StoreError> {
        for (row, n) in table.records_of(ids).zip(1u64..) {
            let (id, value) = row?;
            refuse_later(id, &value)?;
            match Record::decode(id, &value) {
                Ok(record) => self.note(id, &record),
                Err(e) => {
                    self.count += 1;
                    self.damaged.push(Damaged {
                        id,
                        reason: e.to_string(),
                        is_fresh: false,
                        outstanding: 0,
                    });
                }
            }
            if n % LOOK_EVERY == 0 {
                table.sync_if_much_was_written()?;
            }
        }
        table.sync_if_much_was_written()
    }

    /// Adds the result of another thread.
    fn and(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        self.damaged.extend(other.damaged);
        self.count += other.count;
        self.fresh += other.fresh;
        self.opening.accepted += other.opening.accepted;
        self.opening.reports += other.opening.reports;
        self
    }

    fn note(&mut self, id: QueueId, record: &Record) {
        let message = &record.message;
        let (is_fresh, outstanding) = (message.is_fresh(), message.outstanding());
        self.opening.enter(message.origin, outstanding);
        self.count += 1;
        self.fresh += u64::from(is_fresh);
        let length = match record.layout.place {
            ContentPlace::Database => return,
            ContentPlace::BodyFile => record.layout.body,
            ContentPlace::WholeFile => record.layout.size(),
        };
        self.files.insert(
            id,
            Expected {
                length,
                is_fresh,
                outstanding,
            },
        );
    }

    /// Notes a message whose file does not match its record.
    fn has_wrong_file(&mut self, id: QueueId, expected: &Expected, damage: Damage) {
        let Expected {
            is_fresh,
            outstanding,
            ..
        } = *expected;
        self.damaged.push(Damaged {
            id,
            reason: damage.to_string(),
            is_fresh,
            outstanding,
        });
    }
}

/// Compares the files in `mess/` with the records.
fn sweep_body_files(
    state: &StoreState,
    found: &mut Found,
    unclaimed: Unclaimed,
) -> Result<(), StoreError> {
    let mess = state.mess();
    let unreadable = |e| io_error("reading the directory", &mess, e);
    for entry in fs::read_dir(&mess).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.parse::<QueueId>().ok());
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let Some(id) = id.filter(|_| is_file) else {
            if let Err(e) = quarantine::keep_stray(state, &entry) {
                warn!(target: "relayd", event = "corrupt", file = ?name, error = %e,
                    "corrupt: {name:?} in mess/ is not a file of the queue and cannot be moved: {e}");
            }
            continue;
        };
        let Some(expected) = found.files.remove(&id) else {
            if !found.staying.contains(&id) {
                remove_or_keep(state, id, unclaimed)?;
            }
            continue;
        };
        let length = entry.metadata().map(|m| m.len()).unwrap_or_default();
        if length != expected.length {
            let damage = Damage::FileLength {
                found: length,
                expected: expected.length,
            };
            found.has_wrong_file(id, &expected, damage);
        }
    }
    for (id, expected) in mem::take(&mut found.files) {
        found.has_wrong_file(id, &expected, Damage::NoFile);
    }
    Ok(())
}

fn remove_or_keep(state: &StoreState, id: QueueId, unclaimed: Unclaimed) -> Result<(), StoreError> {
    let path = state.body(id);
    match unclaimed {
        Unclaimed::Remove => {
            fs::remove_file(&path).map_err(|e| io_error("removing", &path, e))?;
            info!(target: "relayd", event = "sweep", %id,
                "removed the body of {id}, which was never accepted or has left");
        }
        Unclaimed::Keep => {
            let reason = "a body without a record, while the books miss recipients";
            if let Err(e) = quarantine::keep(state, id, &Evidence::default(), reason) {
                quarantine::warn_of_staying(id, reason, &e);
            }
        }
    }
    Ok(())
}

/// Moves the damaged messages to `corrupt/`, and removes their records.
fn quarantine_damaged(
    state: &StoreState,
    database: &Database,
    found: &mut Found,
    ledger: &mut Ledger,
) -> Result<(), StoreError> {
    let (mut changes, mut is_changed) = (Changes::default(), false);
    for damaged in mem::take(&mut found.damaged) {
        let (id, reason) = (damaged.id, damaged.reason);
        let Some(evidence) = Evidence::gather(database.table(), id)? else {
            continue;
        };
        if let Err(e) = quarantine::keep(state, id, &evidence, &reason) {
            quarantine::warn_of_staying(id, &reason, &e);
            found.staying.insert(id);
            continue;
        }
        is_changed = true;
        found.count -= 1;
        found.fresh -= u64::from(damaged.is_fresh);
        ledger.books.set_aside += damaged.outstanding;
        changes.remove(ValueKind::Record, id, evidence.record.len());
        changes.remove(ValueKind::Content, id, evidence.content.len());
    }
    if !is_changed {
        return Ok(());
    }
    changes.put_books(ledger);
    database.commit(changes, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_in_one_range() {
        let id = QueueId::from_bits;
        for (first, last) in [
            (5, 5),
            (5, 6),
            (0, 1000),
            (7, u64::MAX),
            (u64::MAX - 3, u64::MAX),
        ] {
            let middle = first + (last - first) / 2;
            for bits in [
                first,
                first.saturating_add(1).min(last),
                middle,
                last - (last - first) / 64,
                last,
            ] {
                let ranges = (0..RANGES).map(|range| ids_of(range, (id(first), id(last))));
                let holders = ranges.filter(|(from, to)| {
                    let Bound::Included(from) = from else {
                        return false;
                    };
                    let is_below = match to {
                        Bound::Included(to) => id(bits) <= *to,
                        Bound::Excluded(to) => id(bits) < *to,
                        Bound::Unbounded => false,
                    };
                    *from <= id(bits) && is_below
                });
                assert_eq!(holders.count(), 1, "{bits} in {first}..={last}");
            }
        }
    }
}
