//! What was said, by whom and when.

use std::cmp::Reverse;
use std::io::{self, Write};

use relay_smtp::sasl::{Secret, base64};
use serde::{Serialize, Serializer};
use tokio::time::Instant;
use zeroize::Zeroizing;

use relay_terminal::escape;

/// Printed instead of a secret.
const HIDDEN: &str = "(hidden)";
/// Octets of a line that are kept, of a peer that never ends it.
const MAX_LINE: usize = 4096;

/// Who says a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Speaker {
    Client,
    Server,
    /// This program, about the dialogue.
    Note,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Entry {
    /// Milliseconds since the beginning.
    at_ms: u64,
    from: Speaker,
    #[serde(serialize_with = "as_shown")]
    line: String,
}

fn as_shown<S: Serializer>(line: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&escape(line))
}

/// The dialogue so far, shown as it goes on.
pub(super) struct Transcript<'a> {
    out: Option<&'a mut dyn Write>,
    broken: Option<io::Error>,
    begun: Instant,
    entries: Vec<Entry>,
    /// Never shown, whoever says them: a server may repeat what it was told.
    secrets: Vec<Zeroizing<String>>,
    /// What the server has said of a line that has not ended.
    heard: Vec<u8>,
}

impl<'a> Transcript<'a> {
    /// Handshake on `out`, if anywhere.
    pub(super) fn new(out: Option<&'a mut dyn Write>) -> Self {
        Self {
            out,
            broken: None,
            begun: Instant::now(),
            entries: Vec::new(),
            secrets: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// From now on this is not shown, nor its form in AUTH.
    pub(super) fn hide(&mut self, secret: &Secret) {
        let encoded = base64::encode(secret.expose().as_bytes());
        self.secrets.push(encoded);
        self.secrets
            .push(Zeroizing::new(secret.expose().to_owned()));
    }

    /// A line of an AUTH exchange: the mechanism is shown, and nothing else, now or later.
    pub(super) fn client_in_auth(&mut self, line: &str) {
        let words: Vec<_> = line.splitn(3, ' ').collect();
        let (shown, secret) = match words[..] {
            ["AUTH", mechanism, secret] => (format!("AUTH {mechanism} {HIDDEN}"), secret),
            ["AUTH", mechanism] => (format!("AUTH {mechanism}"), ""),
            _ if line.is_empty() => (String::new(), ""),
            _ => (HIDDEN.to_owned(), line),
        };
        if !secret.is_empty() {
            self.secrets.push(Zeroizing::new(secret.to_owned()));
        }
        self.add(Speaker::Client, &shown);
    }

    /// A line that we say.
    pub(super) fn client(&mut self, line: &str) {
        self.add(Speaker::Client, line);
    }

    /// Octets from the server, with whatever lines end in them.
    pub(super) fn server(&mut self, octets: &[u8]) {
        for octet in octets {
            if *octet == b'\n' {
                self.end_line();
            } else if self.heard.len() < MAX_LINE {
                self.heard.push(*octet);
            }
        }
    }

    /// The server says no more on this connection: what it left unsaid is shown too.
    pub(super) fn server_is_gone(&mut self) {
        if !self.heard.is_empty() {
            self.end_line();
        }
    }

    /// Lines that servers have said so far.
    pub(super) fn lines_heard(&self) -> usize {
        let heard = self.entries.iter();
        heard.filter(|entry| entry.from == Speaker::Server).count()
    }

    /// A handshake follows: of a line that was not ended before it, nothing is shown.
    pub(super) fn forget_rest(&mut self) {
        self.heard.clear();
    }

    /// A text in which a server may have repeated what it was told.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let mut secrets: Vec<_> = self.secrets.iter().collect();
        // One may be part of another.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        let hide = |text: String, secret: &Zeroizing<String>| text.replace(secret.as_str(), HIDDEN);
        secrets.into_iter().fold(text.to_owned(), hide)
    }

    /// A remark.
    pub(super) fn note(&mut self, line: &str) {
        self.add(Speaker::Note, line);
    }

    /// All that was said, if it could be shown.
    pub(super) fn end(self) -> io::Result<Vec<Entry>> {
        match self.broken {
            Some(error) => Err(error),
            None => Ok(self.entries),
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.heard);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        self.add(Speaker::Server, &String::from_utf8_lossy(line));
    }

    fn add(&mut self, from: Speaker, line: &str) {
        let line = self.without_secrets(line);
        let at = self.begun.elapsed().as_millis();
        let entry = Entry {
            at_ms: u64::try_from(at).unwrap_or(u64::MAX),
            from,
            line,
        };
        if let Some(out) = self.out.as_mut().filter(|_| self.broken.is_none()) {
            self.broken = show(out, &entry).err();
        }
        self.entries.push(entry);
    }
}

fn show(out: &mut dyn Write, entry: &Entry) -> io::Result<()> {
    let (seconds, millis) = (entry.at_ms / 1000, entry.at_ms % 1000);
    let who = match entry.from {
        Speaker::Client => "CLIENT -> SERVER:",
        Speaker::Server => "SERVER -> CLIENT:",
        Speaker::Note => "--",
    };
    writeln!(
        out,
        "{seconds:>4}.{millis:03}  {who} {}",
        escape(&entry.line)
    )?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(say: impl FnOnce(&mut Transcript<'_>)) -> Vec<String> {
        let mut out = Vec::new();
        let mut script = Transcript::new(Some(&mut out));
        say(&mut script);
        script.end().expect("memory");
        let text = String::from_utf8(out).expect("text");
        text.lines().map(|line| line[10..].to_owned()).collect()
    }

    #[test]
    fn lines_are_shown_as_they_end() {
        let lines = shown(|script| {
            script.server(b"220 mx.t");
            script.server(b"est\r\n250-a\n250 b\x1b[2J\r\nrest");
            script.client("EHLO x");
            script.server_is_gone();
        });
        let expected = [
            "SERVER -> CLIENT: 220 mx.test",
            "SERVER -> CLIENT: 250-a",
            "SERVER -> CLIENT: 250 b\\u{1b}[2J",
            "CLIENT -> SERVER: EHLO x",
            "SERVER -> CLIENT: rest",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_secret_is_never_shown_whoever_says_it() {
        let lines = shown(|script| {
            script.hide(&Secret::new("s3cret").expect("a secret"));
            script.client_in_auth("AUTH PLAIN AGEAczNjcmV0");
            script.client_in_auth("AUTH LOGIN");
            script.client_in_auth("dXNlcg==");
            script.server(b"535 s3cret AGEAczNjcmV0 dXNlcg== czNjcmV0 no\r\n");
        });
        let expected = [
            "CLIENT -> SERVER: AUTH PLAIN (hidden)",
            "CLIENT -> SERVER: AUTH LOGIN",
            "CLIENT -> SERVER: (hidden)",
            "SERVER -> CLIENT: 535 (hidden) (hidden) (hidden) (hidden) no",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let lines = shown(|script| {
            (0..100).for_each(|_| script.server(&[b'x'; 1000]));
            script.server_is_gone();
        });
        assert_eq!(lines[0].len(), "SERVER -> CLIENT: ".len() + MAX_LINE);
    }
}
