//! The log: one line for each event, as text or JSON, to standard error.
//!
//! An event is formatted where it happens, into a buffer of its thread, and appended to a common
//! buffer. A thread of the log writes this buffer out: many lines with one system call under load,
//! each line at once otherwise. Data from the network can neither begin a line of the log nor look
//! like a field.

mod event_stream;
mod line;
mod writer;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use self::event_stream::EventStream;
pub(crate) use self::event_stream::{Follower, StreamItem};
use self::writer::{Buffer, Writer};

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text for each event.
    Text,
    /// One JSON object on a line for each event.
    Json,
}

/// How much of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Events that require action by the operator.
    Error,
    /// Events that may require action by the operator.
    Warn,
    /// One line for each thing that happens to a message.
    Info,
    /// Other activities of the relay.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    const ALL: [Level; 5] = [
        Level::Error,
        Level::Warn,
        Level::Info,
        Level::Debug,
        Level::Trace,
    ];

    fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            _ => Level::Trace,
        }
    }

    fn filter(self) -> tracing::level_filters::LevelFilter {
        use tracing::level_filters::LevelFilter;
        match self {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The log of the process. Dropping it writes out what is left.
#[derive(Debug)]
pub struct Log {
    level: Arc<AtomicU8>,
    writer: Writer,
    stream: EventStream,
}

impl Log {
    /// Starts a log that writes to `out`, and makes it the log of the whole process.
    pub fn start(
        format: LogFormat,
        level: Level,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (log, subscriber) = Self::detached(format, level, out)?;
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        Ok(log)
    }

    /// Logs panics. A panic is a bug of the relay; its report is one line like any other.
    pub fn report_panics() {
        panic::set_hook(Box::new(|panic| {
            let place = panic
                .location()
                .map(ToString::to_string)
                .unwrap_or_default();
            let reason = panic.payload_as_str().unwrap_or("no reason given");
            crate::events::panicked(&place, reason);
        }));
    }

    /// Creates a log and the subscriber that passes events to it.
    fn detached(
        format: LogFormat,
        level: Level,
        out: impl Write + Send + 'static,
    ) -> io::Result<(Self, Lines)> {
        let writer = Writer::start(out, format)?;
        let level = Arc::new(AtomicU8::new(level as u8));
        let stream = EventStream::new();
        let lines = Lines {
            format,
            level: Arc::clone(&level),
            buffer: writer.buffer(),
            stream: stream.clone(),
        };
        let log = Self {
            level,
            writer,
            stream,
        };
        Ok((log, lines))
    }

    /// Sets the level up to which events are written from now on.
    pub fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Returns the stream of events, for clients that follow them.
    pub(crate) fn event_stream(&self) -> &EventStream {
        &self.stream
    }

    /// Waits until every event so far has been written.
    pub fn flush(&self) {
        self.writer.flush();
    }
}

#[expect(clippy::disallowed_methods, reason = "a log says when it was written")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Formats events as lines.
struct Lines {
    format: LogFormat,
    level: Arc<AtomicU8>,
    buffer: Arc<Buffer>,
    stream: EventStream,
}

impl Lines {
    fn level(&self) -> Level {
        let level = usize::from(self.level.load(Ordering::Relaxed));
        Level::ALL.get(level).copied().unwrap_or(Level::Info)
    }

    /// Returns whether the event is logged. Events of libraries are logged for debugging only.
    fn logs(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.level();
        let is_own = metadata.is_event() && metadata.target().starts_with("relay");
        Level::of(*metadata.level()) <= level && (is_own || level >= Level::Debug)
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        self.logs(metadata) || self.stream.wants(metadata)
    }
}

thread_local! {
    /// The buffer for the line that this thread is formatting.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        let least = if self.stream.is_followed() {
            Level::Info
        } else {
            Level::Error
        };
        Some(self.level().max(least).filter())
    }

    fn event(&self, event: &Event<'_>) {
        LINE.with(|line| {
            // The buffer is in use if the Debug or Display of a field logs an event itself.
            let Ok(mut line) = line.try_borrow_mut() else {
                return;
            };
            let now = now();
            if self.logs(event.metadata()) {
                line.clear();
                line::format(self.format, now, event, &mut line);
                self.buffer.append(&line);
            }
            if self.stream.wants(event.metadata()) {
                line.clear();
                line::format(LogFormat::Json, now, event, &mut line);
                self.stream.send(&line);
            }
        });
    }

    // The lines of this log show nothing of spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[cfg(test)]
mod tests;
