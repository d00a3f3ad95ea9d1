//! Removes body files that no record names any more.
//!
//! Removing a large file takes the file system a while, and neither a commit that waits behind it
//! nor a task of the runtime should: so it has a thread of its own. A file that it does not come to
//! remove is a stray, which the sweep at the next start removes (state S1).

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use relay_failpoint as failpoint;

/// Files that may wait. Beyond it whoever brings one removes it, so that the disk is given back no
/// slower than it is taken.
const WAITING: usize = 1024;

/// The handle of the thread, which ends with the last one.
#[derive(Debug, Clone)]
pub(crate) struct Remover {
    jobs: SyncSender<Job>,
}

#[derive(Debug)]
enum Job {
    /// The file goes when it has no name and no handle any more, so the handle is dropped here too.
    Remove(PathBuf, Option<File>),
    /// All that came before is done.
    Report(SyncSender<()>),
}

impl Job {
    fn run(self) {
        match self {
            Job::Remove(path, file) => {
                failpoint::point("unlinking");
                let _ = fs::remove_file(path);
                drop(file);
            }
            Job::Report(done) => drop(done.try_send(())),
        }
    }
}

impl Remover {
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, waiting): (_, Receiver<Job>) = sync_channel(WAITING);
        thread::Builder::new()
            .name("remover".into())
            .spawn(move || waiting.into_iter().for_each(Job::run))?;
        Ok(Self { jobs })
    }

    /// Removes the file soon, and gives up its handle.
    pub(crate) fn remove(&self, path: PathBuf, file: Option<File>) {
        match self.jobs.try_send(Job::Remove(path, file)) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job.run(),
        }
    }

    /// Returns when all that was to be removed is.
    pub(crate) fn finish(&self) {
        let (done, finished) = sync_channel(1);
        if self.jobs.send(Job::Report(done)).is_ok() {
            let _ = finished.recv();
        }
    }
}
