//! Checks a queue completely while no relayd uses it, and repairs it.
//!
//! A start checks only that everything is where it should be. This reads everything: the index, the
//! journal, each message with its checksums, and the files. It reports all differences and changes
//! nothing. A repair then moves what is damaged to `corrupt/`, and builds the index anew if needed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use relay_message::{QueueId, StoreError};

use crate::checkpoint::{DiskIndex, Unusable};
use crate::committer::set_aside;
use crate::content;
use crate::earlier;
use crate::journal;
use crate::opening;
use crate::recovery::{Recovered, recover};
use crate::remover::Remover;
use crate::spool::io_error;
use crate::state_dir::take_lock;
use crate::store_state::StoreState;

/// A problem in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The index cannot be used. A start builds it anew from the journal.
    Index(String),
    /// A part of the journal is damaged or missing.
    Journal(String),
    /// A message whose record or content is damaged.
    Message(QueueId, String),
    /// A message that cannot be read because of a system error. It stays in place.
    Unread(QueueId, String),
    /// A body in `mess/` without a message, while a part of the journal is lost.
    Body(QueueId),
    /// A file or directory in `mess/` that does not belong to the queue.
    Stray(String),
    /// The books do not match the queue.
    Books(String),
}

/// Writes one line, without its line end.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(problem) => write!(f, "index: {problem}"),
            Self::Journal(problem) => write!(f, "journal: {problem}"),
            Self::Message(id, problem) | Self::Unread(id, problem) => {
                write!(f, "message {id}: {problem}")
            }
            Self::Body(id) => write!(f, "mess/{id}: a body without a message"),
            Self::Stray(name) => write!(f, "mess/{name}: not a file of the queue"),
            Self::Books(problem) => write!(f, "books: {problem}"),
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Messages without a problem.
    pub sound: u64,
    /// Problems. Each was reported when it was found.
    pub findings: u64,
}

/// Whether the check changes the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only reports.
    Check,
    /// Sets damaged messages aside, and builds the index anew if it cannot be used.
    Repair,
}

/// Checks the queue of a state directory and reports each problem at once.
///
/// Fails with [`StoreError::Locked`] while a relayd uses the directory. Any other error comes from
/// the disk; the check is then incomplete.
pub fn check(
    state_dir: &Path,
    mode: Mode,
    report: &mut dyn FnMut(&Finding),
) -> Result<Summary, StoreError> {
    look_for_queue(state_dir)?;
    let (summary, damaged) = {
        let _lock = take_lock(state_dir)?;
        let recovered = read(state_dir)?;
        let mut check = Check {
            mess: state_dir.join("mess"),
            report,
            summary: Summary::default(),
            damaged: BTreeMap::new(),
        };
        check.run(state_dir, recovered)?;
        (check.summary, check.damaged)
    };
    if mode == Mode::Repair && summary.findings > 0 {
        repair(state_dir, damaged)?;
    }
    Ok(summary)
}

fn look_for_queue(state_dir: &Path) -> Result<(), StoreError> {
    if earlier::is_there(state_dir) {
        return Err(StoreError::Database {
            doing: format!("checking {}", earlier::directory(state_dir).display()),
            reason:
                "it has the layout of an earlier relayd; start relayd once, it takes the queue \
                     over, or use the fsck of the earlier relayd"
                    .to_owned(),
        });
    }
    let journal = journal::directory(state_dir);
    let found = fs::metadata(&journal);
    found.map_err(|e| io_error("looking for a queue:", &journal, e))?;
    Ok(())
}

/// Finds out what is in the queue. sled changes its files when it is opened, so this opens a copy.
fn read(state_dir: &Path) -> Result<Recovered, StoreError> {
    let copy = state_dir.join("index.check");
    let copying = |e| io_error("copying the index to", &copy, e);
    remove(&copy).map_err(copying)?;
    let disk = match copy_files(&state_dir.join("index"), &copy) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Unusable::Missing),
        copied => {
            copied.map_err(copying)?;
            DiskIndex::open(&copy).map(|(_, checkpoint, entries)| (checkpoint, entries))
        }
    };
    let recovered = recover(&journal::directory(state_dir), disk);
    remove(&copy).map_err(copying)?;
    recovered
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    let names = fs::read_dir(from)?;
    fs::create_dir(to)?;
    for name in names {
        let name = name?;
        let copy = to.join(name.file_name());
        if name.file_type()?.is_dir() {
            copy_files(&name.path(), &copy)?;
        } else {
            fs::copy(name.path(), copy)?;
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Opens the queue as a start does, sets aside what a start does not see, and closes it.
fn repair(state_dir: &Path, damaged: BTreeMap<QueueId, String>) -> Result<(), StoreError> {
    let mut opened = opening::open(state_dir)?;
    let batch = set_aside(damaged.into_iter().collect(), &opened.state);
    opened.writer.write(&batch)?;
    batch.succeed(&opened.state);
    opened.indexer.finish();
    opened.writer.close();
    opened.state.remover.finish();
    Ok(())
}

struct Check<'a> {
    mess: std::path::PathBuf,
    report: &'a mut dyn FnMut(&Finding),
    summary: Summary,
    damaged: BTreeMap<QueueId, String>,
}

impl Check<'_> {
    fn run(&mut self, state_dir: &Path, mut recovered: Recovered) -> Result<(), StoreError> {
        self.check_journal(&recovered);
        let is_complete = recovered.is_complete();
        for (id, reason) in std::mem::take(&mut recovered.damaged) {
            self.is_damaged(id, reason);
        }
        let remover = Remover::start();
        let remover = remover.map_err(|e| io_error("starting", Path::new("a thread"), e))?;
        let state = StoreState::new(state_dir.to_owned(), remover, recovered.index);
        self.check_messages(&state)?;
        self.check_files(&state, is_complete)
    }

    fn found(&mut self, finding: &Finding) {
        self.summary.findings += 1;
        (self.report)(finding);
    }

    fn is_damaged(&mut self, id: QueueId, reason: String) {
        self.found(&Finding::Message(id, reason.clone()));
        self.damaged.insert(id, reason);
    }

    fn check_journal(&mut self, recovered: &Recovered) {
        if let Some(reason) = recovered
            .rebuilt
            .as_ref()
            .filter(|_| recovered.queue.is_some())
        {
            self.found(&Finding::Index(format!(
                "{reason}; a start builds it anew from the journal"
            )));
        }
        for (segment, stretch) in &recovered.stretches {
            self.found(&Finding::Journal(format!(
                "octets {} to {} of segment {:08x} cannot be read",
                stretch.start, stretch.end, segment.number
            )));
        }
        for number in &recovered.unreadable {
            self.found(&Finding::Journal(format!(
                "nothing in segment {number:08x} can be read"
            )));
        }
        for missing in &recovered.missing {
            let (first, last) = (missing.start(), missing.end());
            self.found(&Finding::Journal(format!(
                "the segments {first:08x} to {last:08x} are missing"
            )));
        }
        if recovered.unaccounted > 0 {
            self.found(&Finding::Books(format!(
                "the queue has {} recipients fewer than they count",
                recovered.unaccounted
            )));
        }
    }

    fn check_messages(&mut self, state: &StoreState) -> Result<(), StoreError> {
        let ids: Vec<QueueId> = state.index().above(None).map(|(id, _)| id).collect();
        for id in ids {
            if self.damaged.contains_key(&id) {
                continue;
            }
            match content::message(state, id) {
                Ok(_) => self.summary.sound += 1,
                Err(StoreError::Damaged { reason, .. }) => self.is_damaged(id, reason),
                Err(e @ StoreError::Io { .. }) => {
                    self.found(&Finding::Unread(id, e.to_string()));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn check_files(&mut self, state: &StoreState, is_complete: bool) -> Result<(), StoreError> {
        let entries = match fs::read_dir(&self.mess) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => listed,
        };
        let mess = self.mess.clone();
        let unreadable = |e: io::Error| io_error("reading the directory", &mess, e);
        for entry in entries.map_err(unreadable)? {
            self.check_file(&entry.map_err(unreadable)?, state, is_complete);
        }
        Ok(())
    }

    /// A body that belongs to no message was never accepted, or its message has left. That is no
    /// problem, unless a part of the journal is lost.
    fn check_file(&mut self, entry: &DirEntry, state: &StoreState, is_complete: bool) {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.parse::<QueueId>().ok());
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let Some(id) = id.filter(|_| is_file) else {
            return self.found(&Finding::Stray(format!("{}", name.display())));
        };
        let is_needed = state.index().get(id).is_some_and(|entry| entry.has_file());
        if !is_needed && !is_complete {
            self.found(&Finding::Body(id));
        }
    }
}
