//! Removes body files that no record refers to.
//!
//! Removing a large file takes time. Neither a commit nor a task of the runtime should wait for it,
//! so a separate thread does it. If the process ends first, the sweep at the next start removes the
//! file (state S1).

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use relay_failpoint as failpoint;

/// The most files that wait. When the queue is full, the caller removes its file itself, so that
/// disk space is freed as fast as it is used.
const WAITING: usize = 1024;

/// A handle of the thread. The thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Remover {
    jobs: SyncSender<Job>,
}

#[derive(Debug)]
enum Job {
    /// The disk space is freed when the file has no name and no handle, so this drops the handle
    /// too.
    Remove(PathBuf, Option<File>),
    /// Reports that all earlier jobs are done.
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

    /// Removes the file in the background, and closes its handle.
    pub(crate) fn remove(&self, path: PathBuf, file: Option<File>) {
        match self.jobs.try_send(Job::Remove(path, file)) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job.run(),
        }
    }

    /// Returns when all earlier files are removed.
    pub(crate) fn finish(&self) {
        let (done, finished) = sync_channel(1);
        if self.jobs.send(Job::Report(done)).is_ok() {
            let _ = finished.recv();
        }
    }
}
