//! Reads a message and completes it for sending.

use std::io::{self, BufRead, Read, Seek as _};
use std::time::SystemTime;

use relay_smtp::date::Date;
use relay_smtp::dsn::{DsnRequest, Notify};
use relay_smtp::{ForwardPath, ReversePath};
use tempfile::SpooledTempFile;

use crate::arguments::Options;
use crate::author::Author;
use crate::error::SendmailError;
use crate::header::{self, Header, HeaderLine};
use crate::lines::Lines;
use crate::recipients;
use crate::wrap::Wrap;

/// The longest header section in octets. The relay's own limit is usually lower.
const MAX_HEADER: usize = 1024 * 1024;
/// How many octets of a body are kept in memory. A longer body is written to an unnamed file.
const IN_MEMORY: usize = 1024 * 1024;

/// A message as it was read, before the relay is contacted: the program that writes it may take hours.
#[derive(Debug)]
pub(crate) struct InputMessage {
    header: Header,
    body: SpooledTempFile,
    wrap: Wrap,
    size: u64,
    eight_bit: bool,
}

/// A complete message with its envelope.
#[derive(Debug)]
pub(crate) struct OutgoingMessage {
    pub(crate) sender: ReversePath,
    pub(crate) recipients: Vec<ForwardPath>,
    pub(crate) eight_bit: bool,
    pub(crate) notify: Notify,
    pub(crate) dsn: DsnRequest,
    head: Vec<u8>,
    body: SpooledTempFile,
    size: u64,
}

/// Reads a message to its end.
pub(crate) fn read(
    input: &mut impl BufRead,
    options: &Options,
) -> Result<InputMessage, SendmailError> {
    let mut lines = Lines::new(input, options.ignore_dots);
    let mut message = InputMessage {
        header: Header::default(),
        body: SpooledTempFile::new(IN_MEMORY),
        wrap: Wrap::default(),
        size: 0,
        eight_bit: false,
    };
    let mut piece = message.read_header(&mut lines)?;
    lines.end_header();
    loop {
        message.append_body(&piece).map_err(SendmailError::Spool)?;
        piece.clear();
        if !lines.read(&mut piece).map_err(SendmailError::Input)? {
            return Ok(message);
        }
    }
}

impl InputMessage {
    /// Reads the header section. Returns the text that was read after it.
    fn read_header<R: BufRead>(&mut self, lines: &mut Lines<R>) -> Result<Vec<u8>, SendmailError> {
        let (mut text, mut taken, mut searched) = (Vec::new(), 0, 0);
        loop {
            while let Some(end) = memchr::memchr(b'\n', &text[searched..]) {
                let next = searched + end + 1;
                match self.header.push_line(&one_line(&text[taken..next])) {
                    HeaderLine::Field => (taken, searched) = (next, next),
                    HeaderLine::End => return Ok(self.end_header(&text, next)),
                    HeaderLine::Text => return Ok(self.end_header(&text, taken)),
                }
            }
            searched = text.len();
            if text.len() > MAX_HEADER {
                // A text without a header section may consist of one long line.
                if self.header.is_empty() && header::name(&text[taken..]).is_none() {
                    return Ok(self.end_header(&text, taken));
                }
                return Err(SendmailError::Header(MAX_HEADER));
            }
            if !lines.read(&mut text).map_err(SendmailError::Input)? {
                return Ok(self.end_header(&text, taken));
            }
        }
    }

    fn end_header(&mut self, text: &[u8], taken: usize) -> Vec<u8> {
        self.eight_bit |= !text[..taken].is_ascii();
        lines_of_body(&text[taken..])
    }

    fn append_body(&mut self, piece: &[u8]) -> io::Result<()> {
        self.eight_bit |= !piece.is_ascii();
        self.size += self.wrap.pass(piece, &mut self.body)?;
        Ok(())
    }

    /// Adds the fields that every message must have (RFC 5322 §3.6). This is not left to the relay,
    /// so that a message that is sent in several parts, or twice, has one Message-ID.
    pub(crate) fn complete(&mut self, author: &Author, now: SystemTime, unique: &str) {
        if !self.header.has("From") {
            let from = author.author_field();
            self.header.add(from);
        }
        if !self.header.has("Date") {
            self.header.add(format!("Date: {}\r\n", Date(now)));
        }
        if !self.header.has("Message-ID") {
            let domain = author.domain.as_str();
            self.header
                .add(format!("Message-ID: <{unique}@{domain}>\r\n"));
        }
    }

    /// Returns the message with its envelope.
    pub(crate) fn into_outgoing(
        mut self,
        options: &Options,
        author: &Author,
    ) -> Result<OutgoingMessage, SendmailError> {
        let mut found = Vec::new();
        for word in &options.recipients {
            found.extend(recipients::of_word(word, &author.domain)?);
        }
        if options.from_header {
            for value in self.header.recipients() {
                found.extend(recipients::of_field(value, &author.domain)?);
            }
        }
        // Old programs write these fields and name the recipients on the command line.
        self.header.remove_bcc();
        let mut recipients: Vec<ForwardPath> = Vec::with_capacity(found.len());
        let mut known = std::collections::HashSet::new();
        recipients.extend(found.into_iter().filter(|path| known.insert(path.clone())));
        if recipients.is_empty() {
            let reason = "no recipients: name them on the command line, or use -t to take them from the message";
            return Err(SendmailError::Usage(reason.to_owned()));
        }
        let head = self.header.encode();
        Ok(OutgoingMessage {
            sender: author.sender.clone(),
            recipients,
            eight_bit: self.eight_bit,
            notify: options.notify,
            dsn: options.dsn.clone(),
            size: self.size + head.len() as u64,
            head,
            body: self.body,
        })
    }
}

/// Replaces each CR within a line of the header section with a space.
fn one_line(line: &[u8]) -> Vec<u8> {
    let text = line.strip_suffix(b"\r\n").unwrap_or(line);
    let octets = text.iter();
    let mut one: Vec<u8> = octets
        .map(|&octet| if octet == b'\r' { b' ' } else { octet })
        .collect();
    one.extend_from_slice(&line[text.len()..]);
    one
}

/// Converts text that was read as part of the header section but belongs to the body, where a lone CR ends
/// a line.
fn lines_of_body(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(text.len());
    for (at, &octet) in text.iter().enumerate() {
        lines.push(octet);
        if octet == b'\r' && text.get(at + 1) != Some(&b'\n') {
            lines.push(b'\n');
        }
    }
    lines
}

impl OutgoingMessage {
    /// Returns the size of the message in octets.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns a reader of the message from its beginning. It can be called several times.
    pub(crate) fn content(&mut self) -> io::Result<impl Read> {
        self.body.rewind()?;
        Ok(self.head.as_slice().chain(&mut self.body))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::io::BufReader;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn author() -> Author {
        Author {
            sender: "ann@ours.test".parse().expect("a sender"),
            address: "ann@ours.test".to_owned(),
            full_name: "Ann".to_owned(),
            domain: "ours.test".into(),
        }
    }

    fn mail(arguments: &str, text: &[u8]) -> Result<OutgoingMessage, SendmailError> {
        let words = ["sendmail"].into_iter().chain(arguments.split(' '));
        let options = Options::parse(words.map(OsString::from))?;
        let mut message = read(&mut BufReader::with_capacity(7, text), &options)?;
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        message.complete(&author(), now, "1");
        message.into_outgoing(&options, &author())
    }

    fn content(mail: &mut OutgoingMessage) -> String {
        let mut text = String::new();
        let read = mail
            .content()
            .and_then(|mut content| content.read_to_string(&mut text));
        assert_eq!(read.expect("a message") as u64, mail.size());
        text
    }

    const ADDED: &str = "From: Ann <ann@ours.test>\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 +0000\r\nMessage-ID: <1@ours.test>\r\n";

    #[test]
    fn missing_fields_are_added_and_existing_ones_are_kept() {
        let whole = "From: a@b.test\r\nDate: d\r\nMessage-ID: <i>\r\nX: y\r\n\r\nhello\r\n";
        for (text, expected) in [
            (
                "Subject: t\n\nhello\n",
                format!("Subject: t\r\n{ADDED}\r\nhello\r\n"),
            ),
            ("hello\nthere", format!("{ADDED}\r\nhello\r\nthere\r\n")),
            ("\nTo: text\n", format!("{ADDED}\r\nTo: text\r\n")),
            ("", format!("{ADDED}\r\n")),
            (
                "Subject: t\nno field\n",
                format!("Subject: t\r\n{ADDED}\r\nno field\r\n"),
            ),
            (whole, whole.to_owned()),
        ] {
            let mut mail = mail("u@d.test", text.as_bytes()).expect(text);
            assert_eq!(content(&mut mail), expected);
            assert_eq!(content(&mut mail), expected, "it can be read again");
        }
    }

    #[test]
    fn recipients_come_from_the_command_line_and_with_t_also_from_the_message() {
        let text = b"To: a, b@d.test\nCc: A <b@d.test>\nBcc: c@d.test\n\nhello\n";
        for (arguments, recipients) in [
            ("u@d.test", &["u@d.test"][..]),
            ("-t", &["a@ours.test", "b@d.test", "c@d.test"]),
            (
                "-t u@d.test b@d.test",
                &["u@d.test", "b@d.test", "a@ours.test", "c@d.test"],
            ),
        ] {
            let mut mail = mail(arguments, text).expect(arguments);
            let found: Vec<_> = mail.recipients.iter().map(ForwardPath::as_str).collect();
            assert_eq!(found, recipients, "{arguments}");
            let text = content(&mut mail);
            assert!(!text.contains("c@d.test"), "{arguments}: {text}");
        }
        let refused = mail("-t", b"Subject: t\n\nhello\n").expect_err("no recipients");
        assert!(matches!(refused, SendmailError::Usage(_)), "{refused}");
    }

    #[test]
    fn the_size_of_the_header_is_limited_and_that_of_the_body_is_not() {
        let body = "x".repeat(99) + "\n";
        let text = format!("Subject: t\n\n{}", body.repeat(30_000));
        let mut large = mail("u@d.test", text.as_bytes()).expect("a large message");
        assert_eq!(content(&mut large).matches('x').count(), 99 * 30_000);
        let endless = format!("Subject: {}", "x".repeat(MAX_HEADER + 100));
        let refused = mail("u@d.test", endless.as_bytes()).expect_err("no end");
        assert!(matches!(refused, SendmailError::Header(_)), "{refused}");
        let line = "x".repeat(MAX_HEADER + 100);
        assert!(
            mail("u@d.test", line.as_bytes()).is_ok(),
            "a body of one line"
        );
    }

    #[test]
    fn a_lone_cr_ends_a_line_in_the_body_but_not_in_the_header() {
        for (text, expected) in [
            (
                "Subject: a\rBcc: x@y.test\n\n1%\r2%\n",
                format!("Subject: a Bcc: x@y.test\r\n{ADDED}\r\n1%\r\n2%\r\n"),
            ),
            (
                "Subject: a\r\r\n\r\r\nb\n",
                format!("Subject: a\r\n{ADDED}\r\nb\r\n"),
            ),
            (
                "Subject: a\n\rBcc: x@y.test\n\n",
                format!("Subject: a\r\n Bcc: x@y.test\r\n{ADDED}\r\n"),
            ),
            ("1%\r2%\r3", format!("{ADDED}\r\n1%\r\n2%\r\n3\r\n")),
        ] {
            let mut mail = mail("u@d.test", text.as_bytes()).expect(text);
            assert_eq!(content(&mut mail), expected, "{text:?}");
        }
    }

    #[test]
    fn a_nul_and_an_endless_line_are_made_valid() {
        let text = format!("Subject: t\n\na\0b\n{}\n", "x".repeat(100_000));
        let mut mail = mail("u@d.test", text.as_bytes()).expect("a message");
        let text = content(&mut mail);
        assert!(text.contains("\r\na?b\r\nxxx"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 998));
    }

    #[test]
    fn octets_beyond_ascii_are_noticed_in_header_and_body() {
        for (text, expected) in [
            ("Subject: t\n\nhello\n", false),
            ("Subject: ö\n\nhello\n", true),
            ("Subject: t\n\nö\n", true),
            ("ö\n", true),
        ] {
            let mail = mail("u@d.test", text.as_bytes()).expect(text);
            assert_eq!(mail.eight_bit, expected, "{text:?}");
        }
    }
}
