//! Sessions with a relay whose replies are fixed.

use std::collections::VecDeque;

use relay_smtp::dsn::DsnRequest;
use relay_smtp::{ForwardPath, Recipient, ReversePath};

use super::*;

/// A peer that sends fixed replies whatever it receives, and then disconnects.
struct Script {
    says: VecDeque<&'static str>,
    heard: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let said = self.says.pop_front().unwrap_or_default();
        buffer[..said.len()].copy_from_slice(said.as_bytes());
        Ok(said.len())
    }
}

impl Write for Script {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.heard.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn script(says: &[&'static str]) -> Script {
    Script {
        says: says.iter().copied().collect(),
        heard: Vec::new(),
    }
}

fn recipient(address: &str) -> Recipient {
    address.parse::<ForwardPath>().expect(address).into()
}

fn send(script: &mut Script, message: &[u8]) -> Result<Vec<Answer>, SubmitError> {
    let sender: ReversePath = "a@b.test".parse().expect("a sender");
    let recipients = ["c@d.test", "e@f.test"].map(recipient);
    let recipients: Vec<_> = recipients.iter().collect();
    let envelope = Envelope {
        sender: &sender,
        recipients: &recipients,
        size: message.len() as u64,
        eight_bit: false,
        utf8: false,
        dsn: &DsnRequest::default(),
    };
    let mut submission = Submission::open(script, "client.test")?;
    let answers = submission.send(&envelope, &mut &*message)?;
    submission.close();
    Ok(answers)
}

#[test]
fn a_message_goes_with_its_dots_doubled_and_each_recipient_has_an_answer() {
    let mut relay = script(&[
        "220 hi\r\n",
        "250 relay.test\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "550 no\r\n",
        "354 go\r\n",
        "250 queued\r\n",
    ]);
    let answers = send(&mut relay, b"Subject: t\r\n\r\n.\r\n").expect("a session");
    assert!(matches!(answers[0], Answer::Taken(_)), "{answers:?}");
    assert!(
        matches!(answers[1], Answer::Refused(Stage::Rcpt, _)),
        "{answers:?}"
    );
    let heard = String::from_utf8(relay.heard).expect("text");
    let said = "EHLO client.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n\
        RCPT TO:<e@f.test>\r\nDATA\r\nSubject: t\r\n\r\n..\r\n.\r\nQUIT\r\n";
    assert_eq!(heard, said);
}

#[test]
fn where_a_session_breaks_is_told() {
    for (says, told) in [
        (&[][..], "broke at the greeting"),
        (
            &["421 busy\r\n"],
            "at the greeting the relay said: 421 busy",
        ),
        (
            &["220 hi\r\n", "250 ok\r\n", "421 stopping\r\n"],
            "at the MAIL FROM the relay said: 421",
        ),
        (
            &["220 hi\r\n", "250 ok\r\n", "junk\r\n"],
            "at the MAIL FROM what answered made no sense",
        ),
        (
            &[
                "220 hi\r\n",
                "250 ok\r\n",
                "250 ok\r\n",
                "250 ok\r\n",
                "250 ok\r\n",
                "354 go\r\n",
            ],
            "broke at the end of DATA",
        ),
    ] {
        let error = send(&mut script(says), b"t\r\n").expect_err("no session");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn a_message_that_cannot_be_read_is_no_message() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::Other.into())
        }
    }
    let mut relay = script(&[
        "220 hi\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
    ]);
    let recipient = recipient("c@d.test");
    let envelope = Envelope {
        sender: &ReversePath::Null,
        recipients: &[&recipient],
        size: 1,
        eight_bit: false,
        utf8: false,
        dsn: &DsnRequest::default(),
    };
    let mut submission = Submission::open(&mut relay, "client.test").expect("a session");
    let error = submission.send(&envelope, &mut Broken);
    assert!(matches!(error, Err(SubmitError::Message(_))), "{error:?}");
    drop(submission);
    assert!(!relay.heard.ends_with(b".\r\n"), "it was never ended");
}
