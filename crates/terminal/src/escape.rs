//! Escapes text, so that text from others cannot control the terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

/// Prints a value as JSON on one line, with control characters escaped.
pub fn print_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value)?;
    writeln!(out, "{}", escape_json(&text))
}

/// Escapes terminal control characters in JSON without changing its value. JSON writers escape only the
/// ASCII control characters below DEL.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_control) {
        return json.into();
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_control(c) {
            let escape = format!("\\u{:04x}", u32::from(c));
            escaped.push_str(&escape);
        } else {
            escaped.push(c);
        }
    }
    escaped.into()
}

/// Whether a terminal would act on this character instead of printing it: control characters and
/// bidirectional overrides. All of them are below U+10000.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes the control characters in text from a remote host or a message, so that it cannot control the
/// terminal.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_has_the_same_value() {
        let text = "a\u{1b}\u{7f}\u{9b}2J\u{202e}\r\nü";
        let mut out = Vec::new();
        print_json(&mut out, &text).expect("memory");
        let shown = String::from_utf8(out).expect("text");
        assert_eq!(shown, "\"a\\u001b\\u007f\\u009b2J\\u202e\\r\\nü\"\n");
        assert_eq!(serde_json::from_str(&shown).ok(), Some(text.to_owned()));
    }

    #[test]
    fn no_control_character_is_left() {
        assert_eq!(
            escape("a\u{1b}[2Jb\r\nü\u{202e}"),
            "a\\u{1b}[2Jb\\r\\nü\\u{202e}"
        );
    }
}
