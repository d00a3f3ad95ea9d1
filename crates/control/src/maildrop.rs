//! Mail that was left for a relay that did not run: a folder that every user of the machine may write
//! to, and a file for each message.
//!
//! The folder is `state_dir/maildrop`, mode 1733: anybody may put a file there, nobody but the relay's
//! user may see which are there or take another's away. The relay does not run as root, so it must
//! be able to read what others write: files are mode 0644 and named by 128 random bits, which in a
//! folder that nobody can list are as good as a key.
//!
//! A file is written as `tmp-…`, synced, and renamed to `new-…`; whatever has that name is whole.
//! Whose it is, says its owner: nothing in it is believed about that. A first line of JSON is the
//! [`Leaf`], the rest the message with its lines ended by CR LF.

use std::io::{self, BufRead, Read};

use relay_smtp::dsn::{DsnRequest, Notify};
use relay_smtp::{ForwardPath, Recipient, ReversePath};
use serde::{Deserialize, Serialize};

/// The folder's name, within the state directory.
pub const FOLDER: &str = "maildrop";
/// The folder's permissions.
pub const MODE: u32 = 0o1733;
/// A file's permissions.
pub const FILE_MODE: u32 = 0o644;
/// What the name of a whole file begins with.
pub const WHOLE: &str = "new-";
/// What the name of a file begins with that is being written.
pub const PARTIAL: &str = "tmp-";
/// Recipients of one file at the most: as many as every server takes in one transaction
/// (RFC 5321 §4.5.3.1.8).
pub const RECIPIENTS: usize = 100;
/// Octets of the first line: each recipient may have 511, each of them six in JSON.
const LONGEST: u64 = 512 * 1024;
const VERSION: u32 = 1;

/// The envelope, on the first line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    version: u32,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// RCPT TO; one at least, [`RECIPIENTS`] at the most.
    pub recipients: Vec<ForwardPath>,
    /// `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// `NOTIFY`, of each recipient.
    pub notify: Notify,
    /// `RET` and `ENVID`.
    pub dsn: DsnRequest,
}

/// A file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// It cannot be read.
    #[error("reading it: {0}")]
    Io(#[from] io::Error),
    /// Its first line has no end, or comes too late to an end.
    #[error("its first line has no end")]
    Endless,
    /// Its first line is no envelope.
    #[error("its first line is no envelope: {0}")]
    Envelope(#[from] serde_json::Error),
    /// It was written by another version of the relay.
    #[error("its version is {0}, not {VERSION}")]
    Version(u32),
    /// No recipient, or more than [`RECIPIENTS`].
    #[error("it has {0} recipients")]
    Recipients(usize),
}

impl Leaf {
    /// For these recipients of at most [`RECIPIENTS`].
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

    /// The recipients, each with what is asked for it.
    pub fn recipients(&self) -> impl Iterator<Item = Recipient> {
        self.recipients.iter().cloned().map(|path| Recipient {
            path,
            notify: self.notify,
            orcpt: None,
        })
    }

    /// The first line, its end included.
    pub fn encode(&self) -> Vec<u8> {
        let mut line =
            serde_json::to_vec(self).expect("text and flags are JSON, whatever they say");
        line.push(b'\n');
        line
    }

    /// Reads the first line; what follows is the message.
    pub fn read(file: &mut impl BufRead) -> Result<Self, LeafError> {
        let mut line = Vec::new();
        file.take(LONGEST).read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\n").ok_or(LeafError::Endless)?;
        let leaf: Self = serde_json::from_slice(line)?;
        match leaf.recipients.len() {
            _ if leaf.version != VERSION => Err(LeafError::Version(leaf.version)),
            1..=RECIPIENTS => Ok(leaf),
            other => Err(LeafError::Recipients(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf() -> Leaf {
        Leaf {
            eight_bit: true,
            notify: Notify::Never,
            ..Leaf::new(
                "ann@a.test".parse().expect("a sender"),
                vec!["\"b\\\"ob\"@b.test".parse().expect("a recipient")],
            )
        }
    }

    #[test]
    fn what_is_written_is_what_is_read_and_the_message_is_left() {
        let mut file = leaf().encode();
        file.extend_from_slice(b"Subject: t\r\n\r\nhello\r\n");
        let mut rest = file.as_slice();
        assert_eq!(Leaf::read(&mut rest).expect("a leaf"), leaf());
        assert_eq!(rest, b"Subject: t\r\n\r\nhello\r\n");
    }

    #[test]
    fn what_is_no_envelope_is_refused_with_the_reason() {
        let good = String::from_utf8(leaf().encode()).expect("JSON");
        let many = vec!["b@b.test".parse().expect("a recipient"); RECIPIENTS + 1];
        let many = Leaf::new(ReversePath::Null, many).encode();
        for (text, reason) in [
            (b"".to_vec(), "no end"),
            (good.trim_end().into(), "no end"),
            (vec![b' '; 600 * 1024], "no end"),
            (b"Subject: t\n".to_vec(), "no envelope"),
            (good.replace("b.test", "b test").into(), "bad domain"),
            (good.replace("true", "true,\"uid\":0").into(), "uid"),
            (
                good.replace("\"version\":1", "\"version\":2").into(),
                "version is 2",
            ),
            (
                Leaf::new(ReversePath::Null, Vec::new()).encode(),
                "0 recipients",
            ),
            (many, "101 recipients"),
        ] {
            let refused = Leaf::read(&mut text.as_slice())
                .expect_err(reason)
                .to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn the_longest_envelope_that_is_written_can_be_read() {
        let longest = format!(
            "\"{}\"@{}",
            "\\\"".repeat(126),
            vec!["a".repeat(63); 3].join(".")
        );
        let recipients = vec![longest.parse().expect("a recipient"); RECIPIENTS];
        let line = Leaf::new(ReversePath::Null, recipients).encode();
        assert!(Leaf::read(&mut line.as_slice()).is_ok());
    }

    proptest! {
        #[test]
        fn no_file_breaks_the_reader(mut text in proptest::collection::vec(any::<u8>(), 0..200), at in 0..200usize) {
            let mut good = leaf().encode();
            let at = at.min(good.len());
            good.splice(at..at, text.drain(..));
            let _ = Leaf::read(&mut good.as_slice());
        }
    }
}
