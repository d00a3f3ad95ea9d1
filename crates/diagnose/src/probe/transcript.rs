//! The transcript of a dialogue, with speakers and times.

use std::cmp::Reverse;
use std::io::{self, Write};

use relay_smtp::sasl::{Secret, base64};
use serde::{Serialize, Serializer};
use tokio::time::Instant;
use zeroize::Zeroizing;

use relay_terminal::escape;

/// Printed instead of a secret.
const HIDDEN: &str = "(hidden)";
/// How many octets of a line are kept if the peer does not end it.
const MAX_LINE: usize = 4096;

/// The speaker of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Speaker {
    Client,
    Server,
    /// A note of this program about the dialogue.
    Note,
}

/// One line of the transcript.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TranscriptEntry {
    /// Milliseconds since the beginning.
    at_ms: u64,
    from: Speaker,
    #[serde(serialize_with = "as_shown")]
    line: String,
}

fn as_shown<S: Serializer>(line: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&escape(line))
}

/// The dialogue so far. It is shown as it continues.
pub(super) struct Transcript<'a> {
    out: Option<&'a mut dyn Write>,
    broken: Option<io::Error>,
    begun: Instant,
    entries: Vec<TranscriptEntry>,
    /// Secrets, which are never shown on either side, because a server may repeat them.
    secrets: Vec<Zeroizing<String>>,
    /// The beginning of a server's line that has not ended yet.
    heard: Vec<u8>,
}

impl<'a> Transcript<'a> {
    /// Creates a transcript that is shown on `out`, if there is one.
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

    /// Hides this secret and its encoded form in AUTH from now on.
    pub(super) fn hide(&mut self, secret: &Secret) {
        let encoded = base64::encode(secret.expose().as_bytes());
        self.secrets.push(encoded);
        self.secrets
            .push(Zeroizing::new(secret.expose().to_owned()));
    }

    /// Adds a line of an AUTH exchange. Only the mechanism is ever shown.
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

    /// Adds a line that we send.
    pub(super) fn client(&mut self, line: &str) {
        self.add(Speaker::Client, line);
    }

    /// Adds octets from the server, and shows the lines that they complete.
    pub(super) fn server(&mut self, octets: &[u8]) {
        for octet in octets {
            if *octet == b'\n' {
                self.end_line();
            } else if self.heard.len() < MAX_LINE {
                self.heard.push(*octet);
            }
        }
    }

    /// Shows the rest of an incomplete line, because the server sends no more on this connection.
    pub(super) fn server_is_gone(&mut self) {
        if !self.heard.is_empty() {
            self.end_line();
        }
    }

    /// Returns the number of lines from servers so far.
    pub(super) fn lines_heard(&self) -> usize {
        let heard = self.entries.iter();
        heard.filter(|entry| entry.from == Speaker::Server).count()
    }

    /// Drops an incomplete line before a TLS handshake.
    pub(super) fn forget_rest(&mut self) {
        self.heard.clear();
    }

    /// Removes secrets from a text, because a server may have repeated them.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let mut secrets: Vec<_> = self.secrets.iter().collect();
        // One secret may be a part of another.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        let hide = |text: String, secret: &Zeroizing<String>| text.replace(secret.as_str(), HIDDEN);
        secrets.into_iter().fold(text.to_owned(), hide)
    }

    /// Adds a note.
    pub(super) fn note(&mut self, line: &str) {
        self.add(Speaker::Note, line);
    }

    /// Returns the whole transcript, or the error if it could not be shown.
    pub(super) fn end(self) -> io::Result<Vec<TranscriptEntry>> {
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
        let entry = TranscriptEntry {
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

fn show(out: &mut dyn Write, entry: &TranscriptEntry) -> io::Result<()> {
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
    fn a_secret_is_never_shown_on_either_side() {
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
    fn an_endless_line_takes_limited_memory() {
        let lines = shown(|script| {
            (0..100).for_each(|_| script.server(&[b'x'; 1000]));
            script.server_is_gone();
        });
        assert_eq!(lines[0].len(), "SERVER -> CLIENT: ".len() + MAX_LINE);
    }
}
