//! Formats one event as one line.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

use tracing::Event;
use tracing::field::{Field, Visit};

use super::Level;
use super::LogFormat;

/// The longest value of a field in octets, so that a hostile reply of many kilobytes does not fill
/// the log.
const LONGEST_VALUE: usize = 4096;

/// Appends the event with its line end.
///
/// Text: `2026-11-21T03:10:00.123Z info new msg 06Q… event="new msg" id=06Q…`. JSON: the same as an
/// object, `time`, `level` and `message` first.
pub(super) fn format(format: LogFormat, now: SystemTime, event: &Event<'_>, out: &mut Vec<u8>) {
    let level = Level::of(*event.metadata().level());
    let mut fields = Fields {
        format,
        out,
        value: String::new(),
        message: true,
    };
    fields.begin(now, level);
    // The message comes first, wherever the event has it.
    event.record(&mut fields);
    fields.message = false;
    event.record(&mut fields);
    fields.end();
}

/// Appends an event of the log itself: this many lines are missing here.
pub(super) fn left_out(format: LogFormat, now: SystemTime, lines: u64, out: &mut Vec<u8>) {
    let mut fields = Fields {
        format,
        out,
        value: String::new(),
        message: true,
    };
    fields.begin(now, Level::Warn);
    let message = format!("warning: {lines} lines of the log were dropped because nothing read it");
    fields.put("message", &message);
    fields.message = false;
    fields.put("event", "log");
    fields.put_number("lines", lines);
    fields.end();
}

struct Fields<'a> {
    format: LogFormat,
    out: &'a mut Vec<u8>,
    /// The value before it is escaped.
    value: String,
    /// Whether this pass writes the message only, or all fields except the message.
    message: bool,
}

impl Fields<'_> {
    fn begin(&mut self, now: SystemTime, level: Level) {
        let time = humantime::format_rfc3339_millis(now);
        // Writing to a buffer in memory cannot fail.
        let _ = match self.format {
            LogFormat::Text => write!(self.out, "{time} {level}"),
            LogFormat::Json => write!(self.out, "{{\"time\":\"{time}\",\"level\":\"{level}\""),
        };
    }

    fn end(&mut self) {
        if self.format == LogFormat::Json {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
    }

    /// Returns whether this pass writes the field.
    fn takes(&self, field: &Field) -> bool {
        (field.name() == "message") == self.message
    }

    fn put(&mut self, name: &str, value: &str) {
        let value = cut(value);
        match self.format {
            LogFormat::Json => {
                self.name(name);
                json_string(value, self.out);
            }
            LogFormat::Text if self.message => {
                self.out.push(b' ');
                escape(value, false, self.out);
            }
            LogFormat::Text => {
                self.name(name);
                text_value(value, self.out);
            }
        }
    }

    /// Writes a number or a boolean, which never needs quotes.
    fn put_bare(&mut self, field: &Field, value: impl fmt::Display) {
        if self.takes(field) {
            self.put_number(field.name(), value);
        }
    }

    fn put_number(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        // Writing to a buffer in memory cannot fail.
        let _ = write!(self.out, "{value}");
    }

    fn name(&mut self, name: &str) {
        // Writing to a buffer in memory cannot fail.
        let _ = match self.format {
            LogFormat::Text => write!(self.out, " {name}="),
            LogFormat::Json => write!(self.out, ",\"{name}\":"),
        };
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.takes(field) {
            let mut text = std::mem::take(&mut self.value);
            text.clear();
            let _ = write!(text, "{value:?}");
            self.put(field.name(), &text);
            self.value = text;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.takes(field) {
            self.put(field.name(), value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.put_bare(field, value);
        } else {
            // JSON has no form for this number.
            self.record_debug(field, &value);
        }
    }
}

/// Returns the beginning of a value that is too long.
fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(LONGEST_VALUE)]
}

/// Writes the value as it is, or in quotes if a part of it could be mistaken for something else.
fn text_value(value: &str, out: &mut Vec<u8>) {
    let plain = |c: char| !(c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\'));
    if !value.is_empty() && value.chars().all(plain) {
        out.extend_from_slice(value.as_bytes());
    } else {
        out.push(b'"');
        escape(value, true, out);
        out.push(b'"');
    }
}

/// Escapes every character that could end a line or control a terminal, as `\n` or `\u{85}`.
fn escape(value: &str, quoted: bool, out: &mut Vec<u8>) {
    for c in value.chars() {
        let breaks = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        // Marks that change the direction of writing can make a line look like another one.
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if breaks || turns || (quoted && matches!(c, '"' | '\\')) {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

fn json_string(value: &str, out: &mut Vec<u8>) {
    // Writing to memory cannot fail, and neither can serializing a string.
    let _ = serde_json::to_writer(out, value);
}
