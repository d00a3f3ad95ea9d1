//! The log lines of the server.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::set_global_default;
use tracing::{Event, Metadata, Subscriber};

thread_local! {
    /// The events that were logged on this thread. Each test has its own thread.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The log of a test: a line for each event, its message and all fields.
pub(crate) struct Log {
    /// The number of lines that were logged before it began.
    passed: usize,
}

impl Log {
    /// Begins with the next event.
    pub(crate) fn kept() -> Self {
        static ONCE: Once = Once::new();
        // One subscriber for all threads: an event that a thread without a subscriber reaches first
        // would stay disabled for the others.
        ONCE.call_once(|| set_global_default(Keeper).expect("no other subscriber is set"));
        Self {
            passed: LINES.with_borrow(Vec::len),
        }
    }

    pub(crate) fn text(&self) -> String {
        LINES.with_borrow(|lines| lines[self.passed..].join("\n"))
    }

    /// Waits for a line that contains all of these texts.
    pub(crate) async fn has(&self, parts: &[&str]) {
        let found = async {
            while !LINES.with_borrow(|lines| {
                let mut lines = lines[self.passed..].iter();
                lines.any(|line| parts.iter().all(|part| line.contains(part)))
            }) {
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(relay_testkit::DEADLINE, found).await;
        assert!(found.is_ok(), "no line with {parts:?} in\n{}", self.text());
    }
}

struct Keeper;

impl Subscriber for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.with_borrow_mut(|lines| lines.push(line.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").expect("writing to a String cannot fail");
    }
}
