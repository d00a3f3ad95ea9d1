//! The log: one line for each event, as text or JSON, to standard error.
//!
//! An event is formatted where it happens, into a buffer of its thread, and appended to one buffer
//! that a thread of the log writes out: many lines with one system call when there is much to say,
//! each line at once when there is little. Nothing that came from the wire can start a line of its
//! own or look like a field.

mod feed;
mod line;
mod writer;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::panic;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use self::feed::Feed;
pub(crate) use self::feed::{Follower, Told};
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
    /// What needs the operator.
    Error,
    /// What may need him.
    Warn,
    /// One line for each thing that happens to a message.
    Info,
    /// What else the relay does.
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

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Level::ALL.into_iter().find(|level| level.name() == text);
        found.ok_or_else(|| format!("{text:?} is no level of the log"))
    }
}

/// The log of the process, while it lives. Dropping it writes out what is left.
#[derive(Debug)]
pub struct Log {
    level: Arc<AtomicU8>,
    writer: Writer,
    feed: Feed,
}

impl Log {
    /// Starts a log to `out`, and makes it the log of the whole process.
    pub fn start(
        format: LogFormat,
        level: Level,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (log, subscriber) = Self::detached(format, level, out)?;
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        Ok(log)
    }

    /// A panic is a fault of ours, and one line of the log like any other.
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

    /// A log and the subscriber that feeds it.
    fn detached(
        format: LogFormat,
        level: Level,
        out: impl Write + Send + 'static,
    ) -> io::Result<(Self, Lines)> {
        let writer = Writer::start(out, format)?;
        let level = Arc::new(AtomicU8::new(level as u8));
        let feed = Feed::new();
        let lines = Lines {
            format,
            level: Arc::clone(&level),
            buffer: writer.buffer(),
            feed: feed.clone(),
        };
        let log = Self {
            level,
            writer,
            feed,
        };
        Ok((log, lines))
    }

    /// From now on, events up to `level` are written.
    pub fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Where events can be followed as they happen.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Waits until everything said so far has been written.
    pub fn flush(&self) {
        self.writer.flush();
    }
}

#[expect(clippy::disallowed_methods, reason = "a log says when it was written")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Turns events into lines.
struct Lines {
    format: LogFormat,
    level: Arc<AtomicU8>,
    buffer: Arc<Buffer>,
    feed: Feed,
}

impl Lines {
    fn level(&self) -> Level {
        let level = usize::from(self.level.load(Ordering::Relaxed));
        Level::ALL.get(level).copied().unwrap_or(Level::Info)
    }

    /// What libraries have to say is for those who look for a fault.
    fn logs(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.level();
        let ours = metadata.is_event() && metadata.target().starts_with("relay");
        Level::of(*metadata.level()) <= level && (ours || level >= Level::Debug)
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        self.logs(metadata) || self.feed.wants(metadata)
    }
}

thread_local! {
    /// The line that this thread is making.
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
        let least = if self.feed.is_followed() {
            Level::Info
        } else {
            Level::Error
        };
        Some(self.level().max(least).filter())
    }

    fn event(&self, event: &Event<'_>) {
        LINE.with(|line| {
            // A Debug or Display of a field that logs on its own account would find the line taken.
            let Ok(mut line) = line.try_borrow_mut() else {
                return;
            };
            let now = now();
            if self.logs(event.metadata()) {
                line.clear();
                line::format(self.format, now, event, &mut line);
                self.buffer.append(&line);
            }
            if self.feed.wants(event.metadata()) {
                line.clear();
                line::format(LogFormat::Json, now, event, &mut line);
                self.feed.tell(&line);
            }
        });
    }

    // Spans carry nothing that a line of this log would show.
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
