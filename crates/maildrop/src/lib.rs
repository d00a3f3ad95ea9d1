//! The maildrop: the directory for local mail while the relay is not running. Every user of the machine may
//! write to it, and each message is a file. [`submit`] is the SMTP client that submits a message to the
//! relay on the same machine.
//!
//! The directory is `state_dir/maildrop` with mode 1733: every user may create a file there, but only the
//! relay's user may list the files or remove those of others. The relay does not run as root, so files have
//! mode 0644 for it to read them. Their names are 128 random bits: no other user can list the directory, and
//! so no other user can open a file whose name they cannot guess.
//!
//! A file is written as `tmp-…`, synced, and renamed to `new-…`; a file with that name is complete. A
//! message belongs to the owner of its file; nothing in the file can change that. The first line is the
//! [`EnvelopeLine`] in JSON; the rest is the message, with lines that end in CR LF.

pub mod submit;

use std::io::{self, BufRead, Read};

use relay_smtp::dsn::{DsnRequest, Notify};
use relay_smtp::{ForwardPath, Recipient, ReversePath};
use serde::{Deserialize, Serialize};

/// The socket for mail from the `sendmail` command, unless the configuration names another one.
pub const DEFAULT_SUBMISSION: &str = "/run/relayd/submit.sock";

/// The directory's name, within the state directory.
pub const FOLDER: &str = "maildrop";
/// The directory's permissions.
pub const MODE: u32 = 0o1733;
/// A file's permissions.
pub const FILE_MODE: u32 = 0o644;
/// The prefix of a complete file's name.
pub const WHOLE: &str = "new-";
/// The prefix of a file's name while it is being written.
pub const PARTIAL: &str = "tmp-";
/// The largest number of recipients of one file: every server accepts that many in one transaction
/// (RFC 5321 §4.5.3.1.8).
pub const RECIPIENTS: usize = 100;
/// The longest first line in octets: a recipient may have 511 octets, and JSON may need six for each.
const LONGEST: u64 = 512 * 1024;
const VERSION: u32 = 1;

/// The envelope, on the first line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeLine {
    version: u32,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// RCPT TO: from one to [`RECIPIENTS`] paths.
    pub recipients: Vec<ForwardPath>,
    /// `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// `NOTIFY`, the same for each recipient.
    pub notify: Notify,
    /// `RET` and `ENVID`.
    pub dsn: DsnRequest,
}

/// Why the first line of a file is not a valid envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The first line is not terminated, or is too long.
    #[error("its first line is too long or has no line end")]
    Endless,
    /// The first line is not an envelope.
    #[error("its first line is not an envelope: {0}")]
    Envelope(#[from] serde_json::Error),
    /// Another version of the relay has written the file.
    #[error("its version is {0}, not {VERSION}")]
    Version(u32),
    /// There is no recipient, or there are more than [`RECIPIENTS`].
    #[error("it has {0} recipients")]
    Recipients(usize),
}

impl EnvelopeLine {
    /// Creates the envelope for at most [`RECIPIENTS`] recipients.
    pub fn new(sender: ReversePath, recipients: Vec<ForwardPath>) -> Self {
        Self {
            version: VERSION,
            sender,
            recipients,
            eight_bit: false,
            notify: Notify::default(),
            dsn: DsnRequest::default(),
        }
    }

    /// Returns the recipients, each with its DSN options.
    pub fn recipients(&self) -> impl Iterator<Item = Recipient> {
        self.recipients.iter().cloned().map(|path| Recipient {
            path,
            notify: self.notify,
            orcpt: None,
        })
    }

    /// Returns the first line, including its line end.
    pub fn encode(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self)
            .expect("strings, numbers and flags can always be written as JSON");
        line.push(b'\n');
        line
    }

    /// Reads the first line; the message follows it.
    pub fn read(file: &mut impl BufRead) -> Result<Self, EnvelopeError> {
        let mut line = Vec::new();
        file.take(LONGEST).read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\n").ok_or(EnvelopeError::Endless)?;
        let envelope: Self = serde_json::from_slice(line)?;
        match envelope.recipients.len() {
            _ if envelope.version != VERSION => Err(EnvelopeError::Version(envelope.version)),
            1..=RECIPIENTS => Ok(envelope),
            other => Err(EnvelopeError::Recipients(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope() -> EnvelopeLine {
        EnvelopeLine {
            eight_bit: true,
            notify: Notify::Never,
            ..EnvelopeLine::new(
                "ann@a.test".parse().expect("a sender"),
                vec!["\"b\\\"ob\"@b.test".parse().expect("a recipient")],
            )
        }
    }

    #[test]
    fn an_encoded_envelope_is_read_and_the_message_follows_it() {
        let mut file = envelope().encode();
        file.extend_from_slice(b"Subject: t\r\n\r\nhello\r\n");
        let mut rest = file.as_slice();
        assert_eq!(
            EnvelopeLine::read(&mut rest).expect("an envelope"),
            envelope()
        );
        assert_eq!(rest, b"Subject: t\r\n\r\nhello\r\n");
    }

    #[test]
    fn an_invalid_envelope_is_refused_with_the_reason() {
        let good = String::from_utf8(envelope().encode()).expect("JSON");
        let many = vec!["b@b.test".parse().expect("a recipient"); RECIPIENTS + 1];
        let many = EnvelopeLine::new(ReversePath::Null, many).encode();
        for (text, reason) in [
            (b"".to_vec(), "no line end"),
            (good.trim_end().into(), "no line end"),
            (vec![b' '; 600 * 1024], "no line end"),
            (b"Subject: t\n".to_vec(), "not an envelope"),
            (good.replace("b.test", "b test").into(), "bad domain"),
            (good.replace("true", "true,\"uid\":0").into(), "uid"),
            (
                good.replace("\"version\":1", "\"version\":2").into(),
                "version is 2",
            ),
            (
                EnvelopeLine::new(ReversePath::Null, Vec::new()).encode(),
                "0 recipients",
            ),
            (many, "101 recipients"),
        ] {
            let refused = EnvelopeLine::read(&mut text.as_slice())
                .expect_err(reason)
                .to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn the_longest_envelope_can_be_read() {
        let longest = format!(
            "\"{}\"@{}",
            "\\\"".repeat(126),
            vec!["a".repeat(63); 3].join(".")
        );
        let recipients = vec![longest.parse().expect("a recipient"); RECIPIENTS];
        let line = EnvelopeLine::new(ReversePath::Null, recipients).encode();
        assert!(EnvelopeLine::read(&mut line.as_slice()).is_ok());
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(mut text in proptest::collection::vec(any::<u8>(), 0..200), at in 0..200usize) {
            let mut good = envelope().encode();
            let at = at.min(good.len());
            good.splice(at..at, text.drain(..));
            let _ = EnvelopeLine::read(&mut good.as_slice());
        }
    }
}
