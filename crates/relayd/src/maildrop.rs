//! Mail that users of this machine have left while no relay took it: picked up at the start and from
//! then on, each message in a session of its own, as the user whose file it is.
//!
//! A file is moved to where its owner cannot exchange it, and goes once its message is in the queue
//! for good. A crash between the two makes the message
//! enter twice, with the same Message-ID, and never loses it.

mod folder;
mod leaf;

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

use self::folder::Folder;
use self::leaf::{Fate, Found, hand_in};
use crate::events;

/// How often the folder is looked through.
const LOOK: Duration = Duration::from_secs(1);
/// How long a message that the queue could not take now is left alone; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Messages that the queue cannot take now: after so many, a look ends.
const FAILURES: usize = 100;
/// Of so many the pauses are remembered.
const REMEMBERED: usize = 10_000;

/// The folder, and who takes what is in it.
#[derive(Debug)]
pub(crate) struct Maildrop {
    folder: Folder,
    door: LocalSessions,
    memory: Mutex<Memory>,
    /// The last look failed, and the log knows.
    is_unusable: AtomicBool,
    /// As many things the last look could not set aside, and the log knows.
    stuck: AtomicUsize,
}

/// What is known from one look to the next.
#[derive(Debug, Default)]
struct Memory {
    waiting: HashMap<OsString, Wait>,
    /// A message that is in the queue, and whose file is still to go.
    queued: Option<OsString>,
}

/// A message that the queue could not take.
#[derive(Debug, Clone, Copy)]
struct Wait {
    until: Instant,
    pause: Duration,
}

impl Maildrop {
    /// Makes the folder within the state directory, for all users.
    pub(crate) fn open(state_dir: &Path, door: LocalSessions) -> io::Result<Self> {
        Ok(Self {
            folder: Folder::open(state_dir)?,
            door,
            memory: Mutex::default(),
            is_unusable: AtomicBool::default(),
            stuck: AtomicUsize::default(),
        })
    }

    /// Picks up what is there and what comes, until the shutdown.
    pub(crate) async fn keep(self: Arc<Self>, shutdown: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = looks.tick() => {}
            }
            let (maildrop, shutdown) = (Arc::clone(&self), shutdown.clone());
            // Its panics are in the log, and the next look is another try.
            let _ = tokio::task::spawn_blocking(move || maildrop.look(&shutdown)).await;
        }
    }

    fn look(&self, shutdown: &CancellationToken) {
        let looked = self.look_through(shutdown);
        let is_known = self.is_unusable.swap(looked.is_err(), Ordering::Relaxed);
        if let Err(reason) = looked
            && !is_known
        {
            events::maildrop_unusable(self.folder.path(), &reason);
        }
    }

    fn look_through(&self, shutdown: &CancellationToken) -> io::Result<()> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        self.remove_queued(&mut memory)?;
        let now = Instant::now();
        let (mut failures, mut stuck) = (0, 0);
        for name in self.folder.names()? {
            if shutdown.is_cancelled() || failures == FAILURES {
                break;
            }
            let name = name?;
            if memory.is_waiting(&name, now) {
                continue;
            }
            match self.take(&name)? {
                Fate::Queued => {
                    memory.waiting.remove(&name);
                    memory.queued = Some(name);
                    self.remove_queued(&mut memory)?;
                }
                Fate::Refused(reason) => stuck += usize::from(!self.set_aside(&name, &reason)),
                Fate::Later => {
                    failures += 1;
                    memory.postpone(name, now);
                }
                Fate::Left => {}
            }
        }
        if stuck > self.stuck.swap(stuck, Ordering::Relaxed) {
            events::maildrop_stuck(self.folder.path(), stuck);
        }
        Ok(())
    }

    /// One file of the folder.
    fn take(&self, name: &OsStr) -> io::Result<Fate> {
        if name.as_bytes().starts_with(PARTIAL.as_bytes()) {
            return self.folder.remove_abandoned(name);
        }
        if !name.as_bytes().starts_with(WHOLE.as_bytes()) {
            return Ok(Fate::Refused("its name is none that is used here".into()));
        }
        Ok(match self.folder.hold(name)? {
            Found::Leaf(file, owner) => hand_in(file, owner, &self.door),
            Found::Wrong(reason) => Fate::Refused(reason),
            Found::Nothing => Fate::Left,
        })
    }

    /// Removes a file whose message is in the queue, and no message is taken before that is done: where
    /// it cannot be done, each look would take the message in again.
    fn remove_queued(&self, memory: &mut Memory) -> io::Result<()> {
        if let Some(name) = &memory.queued {
            self.folder.remove(name)?;
            memory.queued = None;
        }
        Ok(())
    }

    /// Whether it was moved; where it cannot be, nobody else's mail waits for that.
    fn set_aside(&self, name: &OsStr, reason: &str) -> bool {
        let moved = self.folder.set_aside(name);
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

/// Where the folder would be.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(relay_maildrop::FOLDER)
}

#[cfg(test)]
mod tests;
