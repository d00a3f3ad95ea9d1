//! The result of a check.

use serde::Serialize;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Ok,
    /// Information that is not about a fault.
    Info,
    /// Some receivers may reject mail, or treat it as suspicious.
    Warn,
    /// Mail will be refused or treated as spam.
    Fail,
}

/// One finding, which is printed on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// The subject of the check, such as `PTR`.
    pub(crate) about: &'static str,
    pub(crate) text: String,
    /// The record to add to the DNS, or to replace the existing one.
    pub(crate) record: Option<String>,
}

impl Finding {
    pub(super) fn ok(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Ok, about, text)
    }

    pub(super) fn info(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Info, about, text)
    }

    pub(super) fn warn(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Warn, about, text)
    }

    pub(super) fn fail(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Fail, about, text)
    }

    fn new(level: Level, about: &'static str, text: impl Into<String>) -> Self {
        Self {
            level,
            about,
            text: text.into(),
            record: None,
        }
    }

    pub(super) fn with(self, record: impl Into<String>) -> Self {
        Self {
            record: Some(record.into()),
            ..self
        }
    }
}

/// Formats a TXT record as a line of a zone file, in quoted strings of at most 255 octets (RFC 1035
/// §3.3, §5.1).
pub(super) fn txt_record(name: &str, value: &str) -> String {
    let mut strings = vec![String::new()];
    let mut length = 0;
    for c in value.chars() {
        if length + c.len_utf8() > 255 {
            strings.push(String::new());
            length = 0;
        }
        length += c.len_utf8();
        if let Some(last) = strings.last_mut() {
            if matches!(c, '"' | '\\') {
                last.push('\\');
            }
            last.push(c);
        }
    }
    let quoted = strings.iter().map(|string| format!(" \"{string}\""));
    format!("{name}. IN TXT{}", quoted.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_into_strings_that_the_dns_can_carry() {
        assert_eq!(
            txt_record("a.test", "v=spf1 \"-all"),
            "a.test. IN TXT \"v=spf1 \\\"-all\""
        );
        let long = txt_record("a.test", &"x".repeat(256));
        assert_eq!(
            long,
            format!("a.test. IN TXT \"{}\" \"x\"", "x".repeat(255))
        );
    }
}
