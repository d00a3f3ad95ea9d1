//! Putting the state directory in order: at the start, and whenever a message proves damaged.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tracing::{info, warn};

use crate::committer::{Shared, content_key, database_error, id_of, record_key};
use crate::error::StoreError;
use crate::id::QueueId;
use crate::record::{Place, Record};
use crate::sled_store::read_dir;
use crate::spool::io_error;

/// Body files that records ask for, and the length that each should have.
type Expected = HashMap<QueueId, u64>;

/// Counts the queue, sets damaged messages aside, deletes what belongs to no message, and returns
/// the highest id. To be run before anybody else works with the queue.
pub(crate) fn run(shared: &Shared, tree: &sled::Tree) -> Result<Option<QueueId>, StoreError> {
    shared
        .damaged
        .store(count_aside(shared)?, Ordering::Relaxed);
    let (mut expected, last) = count_records(shared, tree)?;
    sweep_body_files(shared, tree, &mut expected)?;
    for id in expected.into_keys() {
        set_aside(shared, tree, id, "its body file is missing")?;
    }
    Ok(last)
}

/// Every damaged message and stray file has exactly one file that ends in `.reason`.
fn count_aside(shared: &Shared) -> Result<u64, StoreError> {
    let names = read_dir(&shared.corrupt())?.flatten();
    let is_reason = |name: &fs::DirEntry| name.path().extension().is_some_and(|e| e == "reason");
    Ok(names.filter(is_reason).count() as u64)
}

fn count_records(
    shared: &Shared,
    tree: &sled::Tree,
) -> Result<(Expected, Option<QueueId>), StoreError> {
    let (mut expected, mut damaged, mut last) = (Expected::new(), Vec::new(), None);
    let (mut count, mut fresh) = (0, 0);
    for row in tree.scan_prefix(b"m") {
        let (key, value) =
            row.map_err(|e| database_error("reading", Path::new("the queue"), &e))?;
        let Some(id) = id_of(&key) else { continue };
        last = Some(id);
        match Record::decode(id, &value) {
            Ok(record) => {
                count += 1;
                fresh += u64::from(record.message.is_fresh());
                match record.layout.place {
                    Place::Database => {}
                    Place::BodyFile => drop(expected.insert(id, record.layout.body)),
                    Place::WholeFile => drop(
                        expected.insert(id, record.layout.body.saturating_add(record.layout.head)),
                    ),
                }
            }
            Err(e) => damaged.push((id, e.to_string())),
        }
    }
    shared.count.store(count, Ordering::Relaxed);
    shared.fresh.store(fresh, Ordering::Relaxed);
    for (id, reason) in damaged {
        copy_aside(shared, tree, id, &reason)?;
        remove(tree, id)?;
    }
    Ok((expected, last))
}

/// Takes out of `expected` every file that is as its record says.
fn sweep_body_files(
    shared: &Shared,
    tree: &sled::Tree,
    expected: &mut Expected,
) -> Result<(), StoreError> {
    let mess = shared.mess();
    for entry in read_dir(&mess)? {
        let entry = entry.map_err(|source| io_error("reading the directory", &mess, source))?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.parse::<QueueId>().ok());
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        match id.filter(|_| is_file) {
            None => move_stray(shared, &entry)?,
            Some(id) => match expected.remove(&id) {
                None => {
                    fs::remove_file(entry.path())
                        .map_err(|e| io_error("removing", &entry.path(), e))?;
                    info!(target: "relayd", event = "sweep", %id,
                        "removed the body of {id}, which was never accepted or has left");
                }
                Some(length) => {
                    let found = entry.metadata().map(|m| m.len()).unwrap_or_default();
                    if found != length {
                        let reason = format!("its body file has {found} octets, not {length}");
                        set_aside(shared, tree, id, &reason)?;
                    }
                }
            },
        }
    }
    Ok(())
}

fn move_stray(shared: &Shared, entry: &fs::DirEntry) -> Result<(), StoreError> {
    let name = entry.file_name();
    let to = shared.corrupt().join(&name);
    fs::rename(entry.path(), &to).map_err(|e| io_error("moving away", &entry.path(), e))?;
    let mut note = name.clone();
    note.push(".reason");
    write_durably(&shared.corrupt().join(note), b"no file of the queue\n")?;
    shared.damaged.fetch_add(1, Ordering::Relaxed);
    warn!(target: "relayd", event = "corrupt", file = ?name,
        "corrupt: {name:?} in mess/ is no file of the queue; moved to corrupt/");
    Ok(())
}

/// Only before the committer runs; behind it the record is the committer's to remove.
fn set_aside(
    shared: &Shared,
    tree: &sled::Tree,
    id: QueueId,
    reason: &str,
) -> Result<(), StoreError> {
    copy_aside(shared, tree, id, reason)?;
    let is_fresh = |bytes: &sled::IVec| Record::decode(id, bytes).map(|r| r.message.is_fresh());
    if let Some(bytes) = remove(tree, id)? {
        shared.count.fetch_sub(1, Ordering::Relaxed);
        if is_fresh(&bytes) == Ok(true) {
            shared.fresh.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn remove(tree: &sled::Tree, id: QueueId) -> Result<Option<sled::IVec>, StoreError> {
    let queue = Path::new("the queue");
    tree.remove(content_key(id))
        .map_err(|e| database_error("writing to", queue, &e))?;
    tree.remove(record_key(id))
        .map_err(|e| database_error("writing to", queue, &e))
}

/// Writes record, content and reason of a damaged message to `corrupt/` and moves its body there.
pub(crate) fn copy_aside(
    shared: &Shared,
    tree: &sled::Tree,
    id: QueueId,
    reason: &str,
) -> Result<(), StoreError> {
    let corrupt = shared.corrupt();
    for (key, ending) in [(record_key(id), "record"), (content_key(id), "content")] {
        let value = tree
            .get(key)
            .map_err(|e| database_error("reading", &corrupt, &e))?;
        if let Some(value) = value {
            write_durably(&corrupt.join(format!("{id}.{ending}")), &value)?;
        }
    }
    let (from, to) = (
        shared.mess().join(id.to_string()),
        corrupt.join(format!("{id}.body")),
    );
    match fs::rename(&from, &to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("moving away", &from, e));
        }
        _ => {}
    }
    write_durably(
        &corrupt.join(format!("{id}.reason")),
        format!("{reason}\n").as_bytes(),
    )?;
    File::open(&corrupt)
        .and_then(|dir| dir.sync_data())
        .map_err(|e| io_error("syncing", &corrupt, e))?;
    shared.damaged.fetch_add(1, Ordering::Relaxed);
    warn!(target: "relayd", event = "corrupt", %id, reason,
        "corrupt: message {id} is damaged ({reason}); set aside in {}", corrupt.display());
    Ok(())
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()
    });
    written.map_err(|source| io_error("writing", path, source))
}

/// A head that lies behind its body.
pub(crate) fn read_head(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut head = vec![0; length];
    file.read_exact_at(&mut head, offset)?;
    Ok(head.into())
}
