//! The thread that writes the lines.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::LogFormat;
use super::{line, now};

/// How many octets may wait to be written.
const CAPACITY: usize = 4 << 20;
/// How long the writer pauses after each write. Lines that follow each other closely are written
/// together, but the first one after a quiet time is written at once.
const REST: Duration = Duration::from_millis(5);
/// How long the end of the process waits for the last lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The lines that are waiting to be written.
///
/// If the reader of the log stops reading, mail continues: lines beyond [`CAPACITY`] are dropped
/// and counted, and the count is the next event in the log.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    /// Notified when lines arrive while the writer waits for them, and when they must be written at
    /// once.
    filled: Condvar,
    /// Notified when all lines have been written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    left_out: u64,
    writer: Phase,
    /// Whether a thread waits until all lines are written.
    hurry: bool,
    closed: bool,
}

/// The state of the writer.
#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    /// It is writing the lines that it took.
    Writing,
    /// It has finished writing.
    #[default]
    Resting,
    /// It is waiting for lines.
    Waiting,
}

impl State {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.left_out == 0 && self.writer != Phase::Writing
    }
}

impl Buffer {
    /// Adds a complete line.
    pub(super) fn append(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.lines.len() + line.len() > CAPACITY {
            state.left_out += 1;
            return;
        }
        state.lines.extend_from_slice(line);
        let wake = state.writer == Phase::Waiting;
        if wake {
            state.writer = Phase::Resting;
        }
        drop(state);
        if wake {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Even after a panic the buffer has complete lines only.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_written(&self) {
        let mut state = self.lock();
        state.hurry = true;
        self.filled.notify_one();
        let _ = self
            .written
            .wait_timeout_while(state, LAST_WORDS, |state| !state.is_idle());
    }

    /// Moves the waiting lines into `lines`, which is empty. Returns the number of lines that were
    /// dropped after these, or `None` at the end.
    fn take(&self, lines: &mut Vec<u8>) -> Option<u64> {
        let mut state = self.lock();
        state.writer = Phase::Resting;
        let rested = self
            .filled
            .wait_timeout_while(state, REST, |state| !state.hurry);
        state = rested.unwrap_or_else(PoisonError::into_inner).0;
        while state.lines.is_empty() && state.left_out == 0 {
            state.hurry = false;
            self.written.notify_all();
            if state.closed {
                return None;
            }
            state.writer = Phase::Waiting;
            let waited = self.filled.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.writer = Phase::Writing;
        mem::swap(&mut state.lines, lines);
        Some(mem::take(&mut state.left_out))
    }
}

/// The writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    buffer: Arc<Buffer>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(out: impl Write + Send + 'static, format: LogFormat) -> io::Result<Self> {
        let buffer = Arc::new(Buffer::default());
        let taken = Arc::clone(&buffer);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_out(&taken, out, format))?;
        Ok(Self {
            buffer,
            thread: Some(thread),
        })
    }

    pub(super) fn buffer(&self) -> Arc<Buffer> {
        Arc::clone(&self.buffer)
    }

    pub(super) fn flush(&self) {
        self.buffer.wait_until_written();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.buffer.lock().closed = true;
        self.buffer.wait_until_written();
        // A thread that is blocked in a write, because its reader has stopped, ends with the
        // process.
        if let Some(thread) = self.thread.take().filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}

fn write_out(buffer: &Buffer, mut out: impl Write, format: LogFormat) {
    let mut lines = Vec::new();
    while let Some(left_out) = buffer.take(&mut lines) {
        if left_out > 0 {
            line::left_out(format, now(), left_out, &mut lines);
        }
        // An error of the log itself cannot be reported anywhere.
        let _ = out.write_all(&lines);
        let _ = out.flush();
        lines.clear();
        lines.shrink_to(1 << 20);
    }
}
