//! Mail from local programs through the `sendmail` command.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use relay_testkit::{FakeMx, ReceivedMail};
use relay_tests::{Launch, Relay};

const SOCKET: &str = "[[listener]]\naddress = \"unix:DIR/submit.sock\"\nrole = \"submission\"\n";
const MESSAGE: &str = "Subject: t\n\nhello\n";

fn smarthost(mx: &FakeMx) -> String {
    let port = mx.address().port();
    format!("[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\nport = {port}\ntls = \"none\"\n")
}

#[track_caller]
fn stderr_of(output: &Output, code: i32) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    error
}

/// The names in the maildrop and in the directory of mail that is being accepted.
fn waiting_files(relay: &Relay) -> Vec<String> {
    let folder = |name| fs::read_dir(relay.path(name)).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    folder("state/maildrop")
        .chain(folder("state/maildrop-held"))
        .map(|entry| name(entry).into_string().expect("text"))
        .collect()
}

fn uid() -> String {
    format!("(uid={})", rustix::process::geteuid().as_raw())
}

#[tokio::test]
async fn a_message_is_completed_and_sent_to_all_its_recipients_without_bcc() {
    let mx = FakeMx::start().await;
    let relay = Relay::start(&format!("{SOCKET}{}", smarthost(&mx)));
    let text = "From: cron@sender.test\nTo: u@dest.test\nBcc: hidden@dest.test\n\nline\n.\nlast\n";
    let sent = relay.sendmail(&["-t", "-i", "-f", "root@sender.test"], text);
    assert_eq!(stderr_of(&sent, 0), "");
    let arrived = mx.wait_for_messages(1).await.pop().expect("a message");
    let sender = "<root@sender.test>";
    assert!(arrived.mail.starts_with(sender), "{}", arrived.mail);
    let recipients = ["<u@dest.test>", "<hidden@dest.test>"];
    assert_eq!(arrived.recipients, recipients);
    let text = String::from_utf8(arrived.data).expect("text");
    assert!(text.contains("\r\nDate: ") && text.contains("\r\nMessage-ID: <"));
    assert!(text.contains(&uid()) && !text.contains("hidden"), "{text}");
    assert!(text.ends_with("\r\n\r\nline\r\n.\r\nlast\r\n"), "{text}");
}

#[tokio::test]
async fn mail_from_the_maildrop_is_delivered_once_the_relay_runs() {
    let mx = FakeMx::start().await;
    let mut relay = Relay::start(&format!("{SOCKET}{}", smarthost(&mx)));
    relay.kill();
    stderr_of(&relay.sendmail(&["u@dest.test"], MESSAGE), 0);
    assert_eq!(waiting_files(&relay).len(), 1);
    let folder = fs::metadata(relay.path("state/maildrop")).expect("a folder");
    assert_eq!(folder.permissions().mode() & 0o7777, 0o1733);
    relay.restart();
    let arrived = mx.wait_for_messages(1).await.pop().expect("a message");
    let text = String::from_utf8(arrived.data).expect("text");
    assert!(text.contains(&uid()), "{text}");
    relay.wait_until_empty().await;
    assert!(waiting_files(&relay).is_empty());
    assert_eq!(mx.messages().len(), 1);
}

#[tokio::test]
async fn a_crash_while_the_maildrop_is_read_loses_no_mail_and_duplicates_at_most_one() {
    let mx = FakeMx::start().await;
    let destination = mx.address().to_string();
    for point in ["appended:1", "synced:2", "told:2"] {
        let arrived = mx.messages().len();
        let mut relay = Relay::start(&smarthost(&mx));
        stderr_of(&relay.ctl(&["suspend", &destination]), 0);
        relay.kill();
        for n in 0..5 {
            let message = format!("Subject: left-{n}\n\nhello\n");
            stderr_of(&relay.sendmail(&["u@dest.test"], &message), 0);
        }
        if relay.launch(&Launch::dying_at(point)).is_ok() {
            relay.wait_for_end().await;
        }
        // It may have had the time to remove the files of two messages.
        assert!(
            waiting_files(&relay).len() >= 3,
            "{point}: it crashed too late"
        );
        relay.restart();
        let is_taken = || waiting_files(&relay).is_empty();
        relay.wait_until("empty maildrop", is_taken).await;
        stderr_of(&relay.ctl(&["resume", &destination]), 0);
        relay.wait_until_empty().await;
        let messages = mx.messages().split_off(arrived);
        assert!(
            (5..=6).contains(&messages.len()),
            "{point}: {}",
            messages.len()
        );
        for n in 0..5 {
            let subject = format!("Subject: left-{n}\r\n");
            let of_n = |message: &&ReceivedMail| holds(message, &subject);
            assert!(messages.iter().find(of_n).is_some(), "{point}: {subject}");
        }
    }
}

fn holds(message: &ReceivedMail, text: &str) -> bool {
    String::from_utf8_lossy(&message.data).contains(text)
}

#[tokio::test]
async fn a_relay_without_a_socket_accepts_mail_from_the_maildrop() {
    let mx = FakeMx::start().await;
    let relay = Relay::start(&smarthost(&mx));
    relay.write("relayd.toml", &{
        let text = fs::read_to_string(relay.path("relayd.toml")).expect("a file");
        let dir = relay.path("").display().to_string();
        text + &SOCKET.replace("DIR", dir.trim_end_matches('/'))
    });
    stderr_of(&relay.sendmail(&["u@dest.test"], MESSAGE), 0);
    mx.wait_for_messages(1).await;
    relay
        .wait_until("empty maildrop", || waiting_files(&relay).is_empty())
        .await;
}

#[tokio::test]
async fn a_damaged_file_in_the_maildrop_is_moved_away_and_logged() {
    let relay = Relay::start("");
    fs::write(relay.path("state/maildrop/new-1"), "no envelope\n").expect("a file");
    relay.wait_for_log("event=maildrop").await;
    assert!(relay.log().contains("its first line is not an envelope"));
    assert!(waiting_files(&relay).is_empty());
    let aside = fs::read_dir(relay.path("state/maildrop-refused")).expect("a folder");
    assert_eq!(aside.count(), 1);
    assert_eq!(relay.queued(), 0);
}

#[test]
fn a_refusal_is_reported_to_the_sender_with_its_exit_code() {
    let relay = Relay::start(&format!(
        "{SOCKET}[relay]\nbad_senders = [\"bad@sender.test\"]\n[limits]\nmessage_size = \"10KB\"\n"
    ));
    let large = "x".repeat(20_000);
    for (arguments, message, code, expected) in [
        (&["not an address@"][..], MESSAGE, 65, "is not an address"),
        (&["-t"], MESSAGE, 64, "no recipients"),
        (&["--zap"], MESSAGE, 64, "unknown option"),
        (
            &["-f", "bad@sender.test", "u@dest.test"],
            MESSAGE,
            77,
            "553",
        ),
        (&["u@dest.test"], &large, 65, "10000 bytes"),
    ] {
        let error = stderr_of(&relay.sendmail(arguments, message), code);
        assert!(
            error.starts_with("sendmail: ") && error.contains(expected),
            "{error}"
        );
    }
    assert_eq!(relay.queued(), 0);
    assert!(waiting_files(&relay).is_empty());
}

#[test]
fn a_message_that_cannot_be_stored_is_a_temporary_failure() {
    let relay = Relay::prepare(SOCKET);
    let error = stderr_of(&relay.sendmail(&["u@dest.test"], MESSAGE), 75);
    assert!(
        error.contains("no relay answers") && error.contains("state/maildrop"),
        "{error}"
    );
}

#[tokio::test]
async fn sendmail_bs_is_an_smtp_session_with_the_relay() {
    let mx = FakeMx::start().await;
    let mut relay = Relay::start(&format!("{SOCKET}{}", smarthost(&mx)));
    let dialogue = "EHLO p\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@dest.test>\r\nDATA\r\n\
        Subject: t\r\n\r\nhello\r\n.\r\nQUIT\r\n";
    let spoken = relay.sendmail(&["-bs"], dialogue);
    stderr_of(&spoken, 0);
    let replies = String::from_utf8(spoken.stdout).expect("text");
    assert!(
        replies.starts_with("220 ") && replies.contains("queued as"),
        "{replies}"
    );
    assert!(
        replies
            .lines()
            .last()
            .is_some_and(|l| l.starts_with("221 ")),
        "{replies}"
    );
    mx.wait_for_messages(1).await;
    relay.kill();
    let spoken = relay.sendmail(&["-bs"], dialogue);
    stderr_of(&spoken, 75);
    assert!(spoken.stdout.starts_with(b"421 4.3.2 "));
}

#[test]
fn mailq_shows_the_queue_and_newaliases_does_nothing() {
    let relay = Relay::start(SOCKET);
    stderr_of(&relay.ctl(&["suspend", "dest.test"]), 0);
    stderr_of(&relay.sendmail(&["u@dest.test"], MESSAGE), 0);
    for (name, arguments) in [("mailq", &[][..]), ("sendmail", &["-bp"])] {
        let shown = relay.sendmail_as(name, arguments, "");
        stderr_of(&shown, 0);
        let shown = String::from_utf8(shown.stdout).expect("text");
        assert!(shown.contains("u@dest.test"), "{shown}");
    }
    stderr_of(&relay.sendmail(&["-q"], ""), 0);
    stderr_of(&relay.sendmail_as("newaliases", &[], ""), 0);
}
