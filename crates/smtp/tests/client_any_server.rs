//! Whatever a server says, and wherever it stops, the session ends in a defined result.

use proptest::prelude::*;
use relay_smtp::client::{Answer, ClientSession, Envelope, Event, Plan};
use relay_smtp::{ForwardPath, ReversePath};

const SERVER: &str = "220 mx.test\r\n250-mx.test\r\n250 PIPELINING\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n250 2.0.0 taken\r\n";

/// Plays one transaction of two recipients against these octets, then breaks the connection.
fn play(server: &[u8]) -> Vec<Option<Answer>> {
    let recipients: Vec<ForwardPath> = ["no@dest.test", "u@dest.test"]
        .map(|r| r.parse().expect("a path"))
        .into();
    let mut session = ClientSession::new("relay.test", Plan::CLEAR);
    let mut input = server;
    while let Some(event) = session.receive(&mut input) {
        match event {
            Event::Ready => {
                session.begin(&Envelope {
                    sender: &ReversePath::Null,
                    recipients: &recipients.iter().collect::<Vec<_>>(),
                    size: 10,
                    eight_bit: false,
                    utf8: false,
                });
            }
            Event::Content => session.content_sent(),
            Event::Finished(answers) => return answers.into_iter().map(Some).collect(),
            Event::StartTls => session.tls_started(),
            Event::Broken(_) => break,
        }
    }
    session.abandon()
}

#[test]
fn broken_off_at_any_octet_nobody_counts_as_taken() {
    let whole = play(SERVER.as_bytes());
    assert!(matches!(
        whole[..],
        [Some(Answer::Refused(..)), Some(Answer::Taken(_))]
    ));
    for end in 0..SERVER.len() {
        let answers = play(&SERVER.as_bytes()[..end]);
        assert!(
            !answers.iter().any(|a| matches!(a, Some(Answer::Taken(_)))),
            "cut at {end}"
        );
    }
}

proptest! {
    #[test]
    fn any_replies_end_in_answers_or_silence(
        server in proptest::collection::vec(
            prop_oneof![
                4 => Just(b"250 ok\r\n".to_vec()), 1 => Just(b"220 x\r\n".to_vec()),
                1 => Just(b"354 go\r\n".to_vec()), 1 => Just(b"250-PIPELINING\r\n".to_vec()),
                1 => Just(b"250 PIPELINING\r\n".to_vec()), 1 => Just(b"421 bye\r\n".to_vec()),
                1 => Just(b"550 no\r\n".to_vec()), 1 => Just(b"450 later\n".to_vec()),
                1 => proptest::collection::vec(any::<u8>(), 0..10),
            ],
            0..20,
        ),
    ) {
        let answers = play(&server.concat());
        prop_assert!(answers.is_empty() || answers.len() == 2);
    }
}
