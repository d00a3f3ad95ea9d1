//! Messages, and a relay whose replies are fixed.

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

struct World {
    dir: TempDir,
    settings: RelaySettings,
}

fn world() -> World {
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
    World { dir, settings }
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

impl World {
    /// Starts a relay that greets each client, sends these replies, one for each command, and
    /// disconnects. Returns what the first client sent.
    fn relay(&self, says: &[&'static str]) -> JoinHandle<String> {
        let listener = UnixListener::bind(&self.settings.socket).expect("a socket");
        let says = [&HELLO[..], says].concat();
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut stream = BufReader::new(stream);
            let mut heard = String::new();
            for said in says {
                let text = stream.get_mut().write_all(said.as_bytes());
                text.expect("somebody who reads");
                let end = if said.starts_with("354") {
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
                heard.push_str(&line);
            }
            heard
        })
    }

    /// Returns the envelopes and messages in the maildrop.
    fn left(&self) -> Vec<(EnvelopeLine, String)> {
        let entries = fs::read_dir(&self.settings.maildrop).expect("a folder");
        let read = |entry: io::Result<fs::DirEntry>| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            assert!(name.expect("text").starts_with("new-"), "{path:?}");
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o7777, 0o644);
            let text = fs::read(path).expect("a file");
            let mut rest = text.as_slice();
            let leaf = EnvelopeLine::read(&mut rest).expect("an envelope");
            (leaf, String::from_utf8(rest.to_vec()).expect("text"))
        };
        entries.map(read).collect()
    }
}

#[test]
fn what_the_relay_takes_is_left_nowhere() {
    let world = world();
    let relay = world.relay(&["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 queued\r\n"]);
    deliver(mail("u@dest.test"), &world.settings).expect("a safe message");
    let heard = relay.join().expect("no panic");
    assert!(
        heard.contains("RCPT TO:<u@dest.test>") && heard.contains("\r\n...dots\r\n"),
        "{heard}"
    );
    assert!(world.left().is_empty());
}

#[test]
fn what_no_relay_takes_now_is_left_whole_for_all_that_wait() {
    for says in [
        &[][..],
        &["421 4.3.2 going down\r\n"],
        &["452 4.3.1 no room\r\n"],
        &["250 ok\r\n", "450 4.2.1 later\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "421 4.3.2 going down\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "354 go\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "451 4.3.0 no\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "nonsense\r\n"],
    ] {
        let world = world();
        let relay = world.relay(says);
        deliver(mail("-N never u@dest.test"), &world.settings).expect("a safe message");
        relay.join().expect("no panic");
        let left = world.left();
        let [(leaf, message)] = left.as_slice() else {
            panic!("{says:?}: {left:?}");
        };
        assert_eq!(leaf.sender.as_str(), "ann@ours.test", "{says:?}");
        assert_eq!(leaf.recipients, mail("u@dest.test").recipients);
        assert_eq!(leaf.notify, mail("-N never u@dest.test").notify);
        assert!(
            message.ends_with("\r\n\r\nhello\r\n..dots\r\n"),
            "{message}"
        );
    }
}

#[test]
fn only_recipients_that_have_no_answer_are_left() {
    let world = world();
    let relay = world.relay(&[
        "250 ok\r\n",
        "250 ok\r\n",
        "450 4.2.1 later\r\n",
        "550 5.1.1 never\r\n",
        "354 go\r\n",
        "250 queued\r\n",
    ]);
    let refused = deliver(
        mail("taken@d.test later@d.test never@d.test"),
        &world.settings,
    );
    relay.join().expect("no panic");
    let refused = refused.expect_err("one was refused").to_string();
    assert_eq!(refused, "the relay refuses <never@d.test>: 550 5.1.1 never");
    let left: Vec<_> = world.left().into_iter().map(|(leaf, _)| leaf).collect();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].recipients, mail("later@d.test").recipients);
}

#[test]
fn a_refusal_leaves_nothing() {
    for says in [
        &["553 5.7.1 bad sender\r\n"][..],
        &["250 ok\r\n", "550 5.1.1 never\r\n"],
        &["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "554 5.6.0 no\r\n"],
    ] {
        let world = world();
        let relay = world.relay(says);
        let refused = deliver(mail("u@dest.test"), &world.settings);
        relay.join().expect("no panic");
        let refused = refused.expect_err("a refusal");
        assert!(
            matches!(refused, SendmailError::Refused { .. }),
            "{refused}"
        );
        assert!(world.left().is_empty(), "{says:?}");
    }
}

#[test]
fn without_a_relay_more_recipients_than_one_file_has_make_several() {
    let world = world();
    let names: Vec<_> = (0..=RECIPIENTS).map(|n| format!("u{n}@d.test")).collect();
    deliver(mail(&names.join(" ")), &world.settings).expect("a safe message");
    let left = world.left();
    let mut counts: Vec<_> = left.iter().map(|(leaf, _)| leaf.recipients.len()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, RECIPIENTS]);
    assert_eq!(left[0].1, left[1].1, "one Message-ID");
}

#[test]
fn where_nothing_can_be_left_the_message_is_to_be_tried_again() {
    let mut world = world();
    world.settings.min_free = u64::MAX;
    let full = deliver(mail("u@dest.test"), &world.settings).expect_err("no room");
    assert!(world.left().is_empty());
    world.settings.min_free = 0;
    world.settings.maildrop = world.dir.path().join("nowhere");
    let missing = deliver(mail("u@dest.test"), &world.settings).expect_err("no folder");
    for failure in [full, missing] {
        let told = failure.to_string();
        assert!(matches!(failure, SendmailError::Temporary { .. }), "{told}");
        assert!(told.starts_with("no relay answers at "), "{told}");
    }
}

#[test]
fn what_the_relay_would_find_too_large_later_is_refused_now() {
    let mut world = world();
    world.settings.message_size = Some(10);
    let refused = deliver(mail("u@dest.test"), &world.settings).expect_err("too large");
    assert!(matches!(refused, SendmailError::TooLarge(10)), "{refused}");
    let left = fs::read_dir(&world.settings.maildrop).expect("a folder");
    assert_eq!(left.count(), 0);
}
