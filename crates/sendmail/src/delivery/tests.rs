//! A relay with fixed replies, and messages for it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};
use std::time::UNIX_EPOCH;

use relay_maildrop::EnvelopeLine;
use tempfile::TempDir;

use super::*;
use crate::arguments::Options;
use crate::author::Author;
use crate::message;

const HELLO: [&str; 2] = ["220 relay.test ESMTP\r\n", "250 relay.test\r\n"];

struct Fixture {
    dir: TempDir,
    settings: RelaySettings,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a directory");
    let maildrop = dir.path().join("maildrop");
    fs::create_dir(&maildrop).expect("a folder");
    let settings = RelaySettings {
        socket: dir.path().join("submit.sock"),
        maildrop,
        min_free: 0,
        message_size: None,
        domain: None,
    };
    Fixture { dir, settings }
}

fn mail(arguments: &str) -> OutgoingMessage {
    let author = Author {
        sender: "ann@ours.test".parse().expect("a sender"),
        address: "ann@ours.test".to_owned(),
        full_name: String::new(),
        domain: "ours.test".into(),
    };
    let words = ["sendmail"].into_iter().chain(arguments.split(' '));
    let options = Options::parse(words.map(OsString::from)).expect("options");
    let text = b"Subject: t\n\nhello\n..dots\n";
    let mut message = message::read(&mut &text[..], &options).expect("a message");
    message.complete(&author, UNIX_EPOCH, "1");
    message.into_outgoing(&options, &author).expect("a message")
}

impl Fixture {
    /// Starts a relay that greets each client, sends these replies, one for each command, and
    /// disconnects. Returns what the first client sent.
    fn relay(&self, replies: &[&'static str]) -> JoinHandle<String> {
        let listener = UnixListener::bind(&self.settings.socket).expect("a socket");
        let replies = [&HELLO[..], replies].concat();
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut stream = BufReader::new(stream);
            let mut received = String::new();
            for reply in replies {
                let text = stream.get_mut().write_all(reply.as_bytes());
                text.expect("a client that reads");
                let end = if reply.starts_with("354") {
                    ".\r\n"
                } else {
                    "\n"
                };
                let mut line = String::new();
                while !line.ends_with(end) || line.ends_with("..\r\n") {
                    if stream.read_line(&mut line).unwrap_or(0) == 0 {
                        break;
                    }
                }
                received.push_str(&line);
            }
            received
        })
    }

    /// Returns the envelopes and messages in the maildrop.
    fn stored(&self) -> Vec<(EnvelopeLine, String)> {
        let entries = fs::read_dir(&self.settings.maildrop).expect("a folder");
        let read = |entry: io::Result<fs::DirEntry>| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            assert!(name.expect("text").starts_with("new-"), "{path:?}");
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o7777, 0o644);
            let text = fs::read(path).expect("a file");
            let mut rest = text.as_slice();
            let envelope = EnvelopeLine::read(&mut rest).expect("an envelope");
            (envelope, String::from_utf8(rest.to_vec()).expect("text"))
        };
        entries.map(read).collect()
    }
}

#[test]
fn a_message_that_the_relay_accepts_is_not_stored() {
    let fixture = fixture();
    let relay = fixture.relay(&["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 queued\r\n"]);
    deliver(mail("u@dest.test"), &fixture.settings).expect("a safe message");
    let received = relay.join().expect("no panic");
    assert!(
        received.contains("RCPT TO:<u@dest.test>") && received.contains("\r\n...dots\r\n"),
        "{received}"
    );
    assert!(fixture.stored().is_empty());
}

#[test]
fn a_message_that_the_relay_does_not_accept_now_is_stored() {
    for replies in [
        &[][..],
        &["421 4.3.2 going down\r\n"],
        &["452 4.3.1 no room\r\n"],
        &["250 ok\r\n", "450 4.2.1 later\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "421 4.3.2 going down\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "354 go\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "451 4.3.0 no\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "nonsense\r\n"],
    ] {
        let fixture = fixture();
        let relay = fixture.relay(replies);
        deliver(mail("-N never u@dest.test"), &fixture.settings).expect("a safe message");
        relay.join().expect("no panic");
        let stored = fixture.stored();
        let [(envelope, message)] = stored.as_slice() else {
            panic!("{replies:?}: {stored:?}");
        };
        assert_eq!(envelope.sender.as_str(), "ann@ours.test", "{replies:?}");
        assert_eq!(envelope.recipients, mail("u@dest.test").recipients);
        assert_eq!(envelope.notify, mail("-N never u@dest.test").notify);
        assert!(
            message.ends_with("\r\n\r\nhello\r\n..dots\r\n"),
            "{message}"
        );
    }
}

#[test]
fn only_recipients_without_a_final_answer_are_stored() {
    let fixture = fixture();
    let relay = fixture.relay(&[
        "250 ok\r\n",
        "250 ok\r\n",
        "450 4.2.1 later\r\n",
        "550 5.1.1 never\r\n",
        "354 go\r\n",
        "250 queued\r\n",
    ]);
    let refused = deliver(
        mail("taken@d.test later@d.test never@d.test"),
        &fixture.settings,
    );
    relay.join().expect("no panic");
    let refused = refused.expect_err("one was refused").to_string();
    assert_eq!(refused, "the relay refuses <never@d.test>: 550 5.1.1 never");
    let stored: Vec<_> = fixture
        .stored()
        .into_iter()
        .map(|(envelope, _)| envelope)
        .collect();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].recipients, mail("later@d.test").recipients);
}

#[test]
fn a_refused_message_is_not_stored() {
    for replies in [
        &["553 5.7.1 bad sender\r\n"][..],
        &["250 ok\r\n", "550 5.1.1 never\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "554 5.6.0 no\r\n"],
    ] {
        let fixture = fixture();
        let relay = fixture.relay(replies);
        let refused = deliver(mail("u@dest.test"), &fixture.settings);
        relay.join().expect("no panic");
        let refused = refused.expect_err("a refusal");
        assert!(
            matches!(refused, SendmailError::Refused { .. }),
            "{refused}"
        );
        assert!(fixture.stored().is_empty(), "{replies:?}");
    }
}

#[test]
fn many_recipients_are_stored_in_several_files() {
    let fixture = fixture();
    let names: Vec<_> = (0..=RECIPIENTS).map(|n| format!("u{n}@d.test")).collect();
    deliver(mail(&names.join(" ")), &fixture.settings).expect("a safe message");
    let stored = fixture.stored();
    let mut counts: Vec<_> = stored
        .iter()
        .map(|(envelope, _)| envelope.recipients.len())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, RECIPIENTS]);
    assert_eq!(stored[0].1, stored[1].1, "one Message-ID");
}

#[test]
fn a_message_that_cannot_be_stored_is_a_temporary_failure() {
    let mut fixture = fixture();
    fixture.settings.min_free = u64::MAX;
    let full = deliver(mail("u@dest.test"), &fixture.settings).expect_err("no room");
    assert!(fixture.stored().is_empty());
    fixture.settings.min_free = 0;
    fixture.settings.maildrop = fixture.dir.path().join("nowhere");
    let missing = deliver(mail("u@dest.test"), &fixture.settings).expect_err("no folder");
    for failure in [full, missing] {
        let text = failure.to_string();
        assert!(matches!(failure, SendmailError::Temporary { .. }), "{text}");
        assert!(text.starts_with("no relay answers at "), "{text}");
    }
}

#[test]
fn a_message_that_is_too_large_for_the_relay_is_not_stored() {
    let mut fixture = fixture();
    fixture.settings.message_size = Some(10);
    let refused = deliver(mail("u@dest.test"), &fixture.settings).expect_err("too large");
    assert!(matches!(refused, SendmailError::TooLarge(10)), "{refused}");
    let stored = fs::read_dir(&fixture.settings.maildrop).expect("a folder");
    assert_eq!(stored.count(), 0);
}
