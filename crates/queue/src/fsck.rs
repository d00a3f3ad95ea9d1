//! Checks a queue completely while no relayd uses it, and repairs it.
//!
//! A start checks only the records and the lengths of files. This reads everything. It compares
//! each content with its checksum, each file and each value with its record, and the books with the
//! queue. It reports all differences. A repair also moves what is damaged to `corrupt/`.

use std::fmt;
use std::fs::{self, DirEntry};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use relay_message::{Books, QueueId, StoreError};

use crate::chunks::{Changes, Chunk, ValueKind};
use crate::content;
use crate::database::Database;
use crate::quarantine::{self, Evidence};
use crate::record::Ledger;
use crate::record::{Record, refuse_later};
use crate::remover::Remover;
use crate::sled_store::{make_dir, take_lock};
use crate::spool::io_error;
use crate::store_state::StoreState;

/// Messages between two checks of how much sled has written, and damaged messages that are set
/// aside in one batch.
const PAGE: usize = 256;

/// A problem in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A message whose record or content is damaged.
    Message(QueueId, String),
    /// A message whose file cannot be read because of a system error. It stays in place.
    Unread(QueueId, String),
    /// A body in `mess/` without a message. A start removes it, a repair sets it aside.
    Body(QueueId),
    /// A value in the database that belongs to no message.
    Value(QueueId),
    /// A file or directory in `mess/` that does not belong to the queue.
    Stray(String),
    /// The books do not match the queue.
    Books(String),
}

/// Writes one line, without its line end.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(id, problem) | Self::Unread(id, problem) => {
                write!(f, "message {id}: {problem}")
            }
            Self::Body(id) => write!(f, "mess/{id}: a body without a message"),
            Self::Value(id) => write!(f, "value {id}: it belongs to no message"),
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
    /// Sets damaged messages aside and corrects the books to match the rest.
    Repair,
}

/// Checks the queue of a state directory and reports each problem at once.
///
/// Fails with [`StoreError::Locked`] while a relayd uses the directory. Any other error comes from
/// the disk or from the database as a whole; the check is then incomplete.
pub fn check(
    state_dir: &Path,
    mode: Mode,
    report: &mut dyn FnMut(&Finding),
) -> Result<Summary, StoreError> {
    let database = state_dir.join("queue").join("db");
    fs::metadata(&database).map_err(|e| io_error("looking for a queue:", &database, e))?;
    let _lock = take_lock(state_dir)?;
    for name in ["mess", "corrupt"] {
        make_dir(&state_dir.join(name))?;
    }
    // sled panics on some kinds of damage to its file.
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let database = Database::open(state_dir)?;
        let remover = Remover::start();
        let remover = remover.map_err(|e| io_error("starting", Path::new("a thread"), e))?;
        let state = StoreState::new(state_dir.to_owned(), remover);
        Check::new(&state, &database, mode, report)?.run()
    }));
    checked.unwrap_or_else(|_| {
        Err(StoreError::Database {
            doing: format!("reading {}", database.display()),
            reason: "the database is damaged as a whole".to_owned(),
        })
    })
}

struct Check<'a> {
    state: &'a StoreState,
    database: &'a Database,
    mode: Mode,
    report: &'a mut dyn FnMut(&Finding),
    summary: Summary,
    /// The books, as corrected so far; `None` if there are none that can be read.
    ledger: Option<Ledger>,
    /// The books as they would be if they started with the sound messages.
    opening: Books,
    /// Recipients of damaged messages whose records can be read.
    lost: u64,
    /// Whether there are unreadable records, whose recipients cannot be counted.
    is_short: bool,
    /// Damaged messages to set aside.
    damaged: Vec<(QueueId, String)>,
}

impl<'a> Check<'a> {
    fn new(
        state: &'a StoreState,
        database: &'a Database,
        mode: Mode,
        report: &'a mut dyn FnMut(&Finding),
    ) -> Result<Self, StoreError> {
        let ledger = database.table().ledger()?;
        Ok(Self {
            state,
            database,
            mode,
            report,
            summary: Summary::default(),
            is_short: ledger.is_some_and(|ledger| ledger.is_short),
            ledger,
            opening: Books::default(),
            lost: 0,
            damaged: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Summary, StoreError> {
        self.refuse_later()?;
        self.check_messages()?;
        self.check_values()?;
        self.check_files()?;
        self.check_books()?;
        Ok(self.summary)
    }

    /// Refuses records of a later relayd, before anything is reported or set aside.
    fn refuse_later(&self) -> Result<(), StoreError> {
        let table = self.database.table();
        for (row, n) in table.records(None).zip(1usize..) {
            let (id, bytes) = row?;
            refuse_later(id, &bytes)?;
            if n % PAGE == 0 {
                table.sync_if_much_was_written()?;
            }
        }
        Ok(())
    }

    fn found(&mut self, finding: &Finding) {
        self.summary.findings += 1;
        (self.report)(finding);
    }

    fn check_messages(&mut self) -> Result<(), StoreError> {
        let table = self.database.table();
        for (row, n) in table.records(None).zip(1usize..) {
            let (id, bytes) = row?;
            match Record::decode(id, &bytes) {
                Ok(record) => self.check_content(&record)?,
                Err(e) => {
                    self.is_short = true;
                    self.damaged(id, e.to_string())?;
                }
            }
            if n % PAGE == 0 {
                table.sync_if_much_was_written()?;
            }
        }
        self.quarantine()
    }

    fn check_content(&mut self, record: &Record) -> Result<(), StoreError> {
        let message = &record.message;
        let (id, outstanding) = (message.id, message.outstanding());
        let body = self.state.body(id);
        match content::read(self.database.table(), record, &body) {
            Ok(_) => self.summary.sound += 1,
            Err(StoreError::Damaged { reason, .. }) => {
                self.lost += outstanding;
                return self.damaged(id, reason);
            }
            Err(e @ StoreError::Io { .. }) => self.found(&Finding::Unread(id, e.to_string())),
            Err(e) => return Err(e),
        }
        self.opening.enter(message.origin, outstanding);
        Ok(())
    }

    fn damaged(&mut self, id: QueueId, reason: String) -> Result<(), StoreError> {
        self.found(&Finding::Message(id, reason.clone()));
        if self.mode == Mode::Repair {
            self.damaged.push((id, reason));
        }
        if self.damaged.len() < PAGE {
            return Ok(());
        }
        self.quarantine()
    }

    /// Sets the collected messages aside. Until the end the books have too many recipients and are
    /// marked as short.
    fn quarantine(&mut self) -> Result<(), StoreError> {
        if self.damaged.is_empty() {
            return Ok(());
        }
        let mut changes = Changes::default();
        if let Some(ledger) = &mut self.ledger {
            ledger.is_short = true;
            changes.put_books(ledger);
        }
        for (id, reason) in self.damaged.drain(..) {
            if let Some(evidence) = Evidence::gather(self.database.table(), id)? {
                quarantine::keep(self.state, id, &evidence, &reason)?;
                changes.remove(ValueKind::Record, id, evidence.record.len());
                changes.remove(ValueKind::Content, id, evidence.content.len());
            }
        }
        self.database.commit(changes, false)
    }

    /// Checks that each content has a record, and each further chunk the chunk before it.
    fn check_values(&mut self) -> Result<(), StoreError> {
        let table = self.database.table();
        for row in table.beside_records() {
            let (key, value) = row?;
            let Some(chunk) = Chunk::of(&key) else {
                continue;
            };
            if table.has_what_it_follows(chunk)? {
                continue;
            }
            self.found(&Finding::Value(chunk.id));
            if self.mode == Mode::Repair {
                quarantine::keep_value(self.state, chunk.id, &value)?;
                let mut changes = Changes::default();
                changes.remove_chunk(chunk);
                self.database.commit(changes, false)?;
            }
        }
        Ok(())
    }

    fn check_files(&mut self) -> Result<(), StoreError> {
        let mess = self.state.mess();
        let unreadable = |e: io::Error| io_error("reading the directory", &mess, e);
        for entry in fs::read_dir(&mess).map_err(unreadable)? {
            self.check_file(&entry.map_err(unreadable)?)?;
        }
        Ok(())
    }

    fn check_file(&mut self, entry: &DirEntry) -> Result<(), StoreError> {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.parse::<QueueId>().ok());
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let Some(id) = id.filter(|_| is_file) else {
            self.found(&Finding::Stray(format!("{}", name.display())));
            if self.mode == Mode::Repair {
                quarantine::keep_stray(self.state, entry)?;
            }
            return Ok(());
        };
        let record = self.database.table().get(ValueKind::Record, id)?;
        // An unreadable record has already been reported.
        let names_it = |record: &sled::IVec| {
            Record::decode(id, record).map_or(true, |record| record.layout.place.has_file())
        };
        if record.as_ref().is_some_and(names_it) {
            return Ok(());
        }
        self.found(&Finding::Body(id));
        if self.mode == Mode::Repair {
            let evidence = Evidence::default();
            quarantine::keep(self.state, id, &evidence, "a body without a message")?;
        }
        Ok(())
    }

    fn check_books(&mut self) -> Result<(), StoreError> {
        let corrected = match self.ledger {
            None if self.opening == Books::default() && self.lost == 0 => return Ok(()),
            None => {
                let problem = "they are missing or cannot be read";
                self.found(&Finding::Books(problem.to_owned()));
                self.opening
            }
            Some(ledger) => self.compare(ledger.books),
        };
        if self.mode == Mode::Check {
            return Ok(());
        }
        let mut changes = Changes::default();
        changes.put_books(&Ledger {
            books: corrected,
            is_short: false,
        });
        self.database.commit(changes, false)
    }

    /// Returns the corrected books.
    fn compare(&mut self, mut books: Books) -> Books {
        let queued = self.opening.queued();
        books.set_aside = books.set_aside.saturating_add(self.lost);
        let difference = books.difference(queued);
        let is_explained = difference == 0 || (self.is_short && difference > 0);
        if !is_explained {
            let (more, n) = match difference {
                1.. => ("fewer", difference),
                _ => ("more", -difference),
            };
            let problem = format!("the queue has {n} recipients {more} than they count");
            self.found(&Finding::Books(problem));
        }
        books.balance(queued);
        books
    }
}
