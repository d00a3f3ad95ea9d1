//! Sessions with a relay that sends fixed replies.

use std::collections::VecDeque;

use relay_smtp::dsn::DsnRequest;
use relay_smtp::{ForwardPath, Recipient, ReversePath};

use super::*;

/// A peer that sends fixed replies whatever it receives, and then disconnects.
struct Script {
    replies: VecDeque<&'static str>,
    received: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let reply = self.replies.pop_front().unwrap_or_default();
        buffer[..reply.len()].copy_from_slice(reply.as_bytes());
        Ok(reply.len())
    }
}

impl Write for Script {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.received.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn script(replies: &[&'static str]) -> Script {
    Script {
        replies: replies.iter().copied().collect(),
        received: Vec::new(),
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
fn dots_are_doubled_and_each_recipient_has_an_answer() {
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
    let received = String::from_utf8(relay.received).expect("text");
    let expected = "EHLO client.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n\
        RCPT TO:<e@f.test>\r\nDATA\r\nSubject: t\r\n\r\n..\r\n.\r\nQUIT\r\n";
    assert_eq!(received, expected);
}

#[test]
fn an_error_names_the_stage_of_the_session() {
    for (replies, expected) in [
        (&[][..], "lost at the greeting"),
        (
            &["421 busy\r\n"],
            "at the greeting the relay replied: 421 busy",
        ),
        (
            &["220 hi\r\n", "250 ok\r\n", "421 stopping\r\n"],
            "at the MAIL FROM the relay replied: 421",
        ),
        (
            &["220 hi\r\n", "250 ok\r\n", "junk\r\n"],
            "at the MAIL FROM the reply was not valid SMTP",
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
            "lost at the end of DATA",
        ),
    ] {
        let error = send(&mut script(replies), b"t\r\n").expect_err("no session");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_message_that_cannot_be_read_to_its_end_is_not_submitted() {
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
    assert!(
        !relay.received.ends_with(b".\r\n"),
        "the message must not be ended"
    );
}
