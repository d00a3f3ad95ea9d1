//! An SMTP reply (RFC 5321 §4.2), the answer of a server to a command.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::status::{Class, EnhancedStatus};

/// A reply: a three-digit code, an optional enhanced status of the same class, and lines of text.
///
/// The text never contains CR, LF or another control character: [`Reply::new`] takes constants, and
/// the reply parser replaces such characters from a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    code: u16,
    status: Option<EnhancedStatus>,
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    /// Makes a reply of one line with the enhanced status `class.subject.detail`. The class is
    /// taken from `code`, so the two always agree (RFC 2034 §4). `3xx` replies have no status.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let status = class_of(code).map(|class| EnhancedStatus::new(class, subject, detail));
        Self {
            code,
            status,
            lines: vec![text.into()],
        }
    }

    /// Makes a reply without enhanced status: for the greeting, EHLO and `354`.
    pub fn plain(code: u16, lines: Vec<Cow<'static, str>>) -> Self {
        Self {
            code,
            status: None,
            lines,
        }
    }

    /// Makes a reply as a peer sent it. A status whose class does not match the code is dropped.
    pub fn received(code: u16, status: Option<EnhancedStatus>, lines: Vec<String>) -> Self {
        Self {
            code,
            status: status.filter(|s| Some(s.class()) == class_of(code)),
            lines: lines.into_iter().map(Cow::Owned).collect(),
        }
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status, if the reply has one.
    pub fn status(&self) -> Option<EnhancedStatus> {
        self.status
    }

    /// The lines of text, without code and enhanced status.
    pub fn lines(&self) -> &[Cow<'static, str>] {
        &self.lines
    }

    /// `2xx`
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// `3xx`
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// `4xx`
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// `5xx`
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Appends the reply in wire format. Every line has the code and the status.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (i, line) in self.lines.iter().enumerate() {
            let mark = if i == last { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{mark}", self.code).as_bytes());
            if let Some(status) = self.status {
                out.extend_from_slice(format!("{status} ").as_bytes());
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Formats the reply on one line, as in a log or a Diagnostic-Code: `450 4.2.0 first second`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        for line in self.lines.iter().filter(|l| !l.is_empty()) {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

fn class_of(code: u16) -> Option<Class> {
    match code / 100 {
        2 => Some(Class::Success),
        4 => Some(Class::Transient),
        5 => Some(Class::Permanent),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_takes_its_class_from_the_code() {
        assert_eq!(
            Reply::new(450, 2, 0, "later").to_string(),
            "450 4.2.0 later"
        );
        assert_eq!(Reply::new(550, 1, 1, "no").to_string(), "550 5.1.1 no");
        let lying = Reply::received(550, Some(EnhancedStatus::success(0, 0)), vec!["x".into()]);
        assert_eq!(lying.status(), None);
    }

    #[test]
    fn every_line_has_the_code_and_the_status() {
        let reply = Reply::received(
            550,
            Some(EnhancedStatus::permanent(7, 1)),
            vec!["a".into(), "b".into()],
        );
        let mut wire = Vec::new();
        reply.encode(&mut wire);
        assert_eq!(wire, b"550-5.7.1 a\r\n550 5.7.1 b\r\n");
    }
}
