//! Submits the mail that users of this machine left in the maildrop while no relay was running.
//! Each message is submitted in its own session, as the owner of its file.
//!
//! A file is first moved to a directory where its owner cannot replace it. It is removed once its
//! message is durably in the queue. After a crash in between, the message enters the queue a second
//! time with the same Message-ID, but is never lost.

mod directory;
mod message;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use relay_maildrop::{PARTIAL, WHOLE};
use relay_smtpd::LocalSessions;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::directory::Directory;
use self::message::{FileResult, Found, submit};
use crate::events;

/// How often the directory is read.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait before a message is tried again that the queue cannot take at present. The time
/// doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// One pass over the directory ends after this many messages that the queue cannot take.
const FAILURES: usize = 100;
/// How many messages have a remembered pause.
const REMEMBERED: usize = 10_000;

/// The directory, and the sessions that submit its messages.
#[derive(Debug)]
pub(crate) struct Maildrop {
    directory: Directory,
    sessions: LocalSessions,
    memory: Mutex<Memory>,
    /// The last pass failed, and this has been logged.
    is_unusable: AtomicBool,
    /// How many files the last pass could not move away. The number has been logged.
    stuck: AtomicUsize,
}

/// What is remembered between passes.
#[derive(Debug, Default)]
struct Memory {
    waiting: HashMap<OsString, Wait>,
    /// A message that is in the queue, but whose file has not been removed yet.
    queued: Option<OsString>,
}

/// A message that the queue could not take.
#[derive(Debug, Clone, Copy)]
struct Wait {
    until: Instant,
    pause: Duration,
}

impl Maildrop {
    /// Creates the directory in the state directory, so that all users can write to it.
    pub(crate) fn open(state_dir: &Path, sessions: LocalSessions) -> io::Result<Self> {
        Ok(Self {
            directory: Directory::open(state_dir)?,
            sessions,
            memory: Mutex::default(),
            is_unusable: AtomicBool::default(),
            stuck: AtomicUsize::default(),
        })
    }

    /// Submits existing and new messages until the shutdown.
    pub(crate) async fn keep(self: Arc<Self>, shutdown: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = looks.tick() => {}
            }
            let (maildrop, shutdown) = (Arc::clone(&self), shutdown.clone());
            // A panic is logged, and the next pass tries again.
            let _ = tokio::task::spawn_blocking(move || maildrop.look(&shutdown)).await;
        }
    }

    fn look(&self, shutdown: &CancellationToken) {
        let looked = self.look_through(shutdown);
        let is_known = self.is_unusable.swap(looked.is_err(), Ordering::Relaxed);
        if let Err(reason) = looked
            && !is_known
        {
            events::maildrop_unusable(self.directory.path(), &reason);
        }
    }

    fn look_through(&self, shutdown: &CancellationToken) -> io::Result<()> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        self.remove_queued(&mut memory)?;
        let now = Instant::now();
        let (mut failures, mut stuck) = (0, 0);
        for name in self.directory.names()? {
            if shutdown.is_cancelled() || failures == FAILURES {
                break;
            }
            let name = name?;
            if memory.is_waiting(&name, now) {
                continue;
            }
            match self.take(&name)? {
                FileResult::Queued => {
                    memory.waiting.remove(&name);
                    memory.queued = Some(name);
                    self.remove_queued(&mut memory)?;
                }
                FileResult::Refused(reason) => stuck += usize::from(!self.refuse(&name, &reason)),
                FileResult::Later => {
                    failures += 1;
                    memory.postpone(name, now);
                }
                FileResult::Left => {}
            }
        }
        if stuck > self.stuck.swap(stuck, Ordering::Relaxed) {
            events::maildrop_stuck(self.directory.path(), stuck);
        }
        Ok(())
    }

    /// Handles one file of the directory.
    fn take(&self, name: &OsStr) -> io::Result<FileResult> {
        if name.as_bytes().starts_with(PARTIAL.as_bytes()) {
            return self.directory.remove_abandoned(name);
        }
        if !name.as_bytes().starts_with(WHOLE.as_bytes()) {
            return Ok(FileResult::Refused(
                "its name is not one that the maildrop uses".into(),
            ));
        }
        Ok(match self.directory.hold(name)? {
            Found::Message(file, owner) => submit(file, owner, &self.sessions),
            Found::Wrong(reason) => FileResult::Refused(reason),
            Found::Gone => FileResult::Left,
        })
    }

    /// Removes the file of a message that is in the queue. No other message is submitted before
    /// this has succeeded. Otherwise each pass would submit the same message again.
    fn remove_queued(&self, memory: &mut Memory) -> io::Result<()> {
        if let Some(name) = &memory.queued {
            self.directory.remove(name)?;
            memory.queued = None;
        }
        Ok(())
    }

    /// Moves a file that is not accepted out of the maildrop. Returns whether that succeeded. If
    /// not, the other messages are still handled.
    fn refuse(&self, name: &OsStr, reason: &str) -> bool {
        let moved = self.directory.move_to_refused(name);
        if let Ok(place) = &moved {
            events::maildrop_refused(place, reason);
        }
        moved.is_ok()
    }
}

impl Memory {
    fn is_waiting(&self, name: &OsStr, now: Instant) -> bool {
        self.waiting.get(name).is_some_and(|wait| wait.until > now)
    }

    fn postpone(&mut self, name: OsString, now: Instant) {
        let before = self.waiting.get(&name).map(|wait| wait.pause);
        let pause = before.map_or(FIRST_PAUSE, |pause| LONGEST_PAUSE.min(pause * 2));
        if self.waiting.len() >= REMEMBERED {
            self.waiting.clear();
        }
        let until = now + pause;
        self.waiting.insert(name, Wait { until, pause });
    }
}

/// Returns the path of the maildrop.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(relay_maildrop::FOLDER)
}

#[cfg(test)]
mod tests;
